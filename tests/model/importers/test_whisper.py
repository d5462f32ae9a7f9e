"""Whisper checkpoints of three layouts are the same model here."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from echostream.cli import main
from echostream.config import PolicyConfig, TextDecoderConfig, WhisperEncoderConfig
from echostream.decoder import ByteLevelTokenizer
from echostream.errors import CheckpointError
from echostream.model import load_model
from echostream.model.checkpoint import OPTIONAL, load_config_json
from echostream.model.difference import SILENCE_ROWS
from echostream.model.importers.ctranslate2 import read_variables
from echostream.model.importers.whisper import read_whisper, write_folder
from tests.model.importers import small_whisper as small

OWN = small.tensors()
Writer = Callable[[Path, dict[str, Tensor]], Path]
WRITERS: tuple[Writer, ...] = (
    small.write_openai,
    small.write_hugging_face,
    small.write_ctranslate2,
)
each_layout = pytest.mark.parametrize("write", WRITERS)


def check_numbers(found: dict[str, Tensor]) -> None:
    assert set(found) == {*OWN, "cmvn_mean", "cmvn_std"}
    for name, tensor in OWN.items():
        assert torch.equal(found[name].float(), tensor), name
    assert not found["cmvn_mean"].any()
    assert torch.equal(found["cmvn_std"].float(), torch.ones(small.MELS))


@each_layout
def test_every_layout_is_the_same_model(write: Writer, tmp_path: Path) -> None:
    imported = read_whisper(write(tmp_path, OWN))
    check_numbers(imported.tensors)
    config = imported.config
    assert (config.source_language, config.target_language) == ("multilingual", "en")
    assert config.source_languages == tuple(small.CODES)
    assert (config.audio.features, config.asr_vocab_size, config.st_vocab_size) == ("whisper", 0, 0)
    assert config.policy == PolicyConfig("alignatt", {}, {"frames": 50})
    heads = ((1, 0), (2, 3))
    if write is small.write_openai:  # which names none: all of the upper half
        heads = tuple((layer, head) for layer in (1, 2) for head in range(4))  # type: ignore[assignment]
    assert config.text_decoder == TextDecoderConfig(
        *(small.V, small.C, 3, 4, small.F), max_tokens=7, max_source=40, alignment_heads=heads
    )
    encoder = config.encoder
    assert isinstance(encoder, WhisperEncoderConfig)
    sizes = (encoder.input_dim, encoder.embed_dim, encoder.num_layers, encoder.num_heads)
    assert sizes == (small.MELS, small.C, 2, 2)
    assert (encoder.ffn_dim, encoder.max_positions) == (small.F, small.POSITIONS)


@each_layout
def test_every_layout_has_the_same_vocabulary(write: Writer, tmp_path: Path) -> None:
    table = read_whisper(write(tmp_path, OWN)).vocabulary
    assert table.tokens == (*small.TEXT, *(name.encode() for name in small.SPECIAL))
    assert table.special == frozenset(range(len(small.TEXT), small.V))
    assert table.suppressed_at_start == (220, len(small.TEXT))
    tokenizer = ByteLevelTokenizer(table)
    assert tokenizer.encode(" the") == [small.TEXT.index(b" the")]
    assert tokenizer.language("su") == len(small.TEXT) + 100
    assert tokenizer.special("<|30.00|>") == small.V - 1


def test_older_vocabularies_name_fewer_special_tokens(tmp_path: Path) -> None:
    small.write_hugging_face(tmp_path, OWN)
    expected = read_whisper(tmp_path).vocabulary
    path = tmp_path / "tokenizer.json"
    values = json.loads(path.read_text())
    values["added_tokens"] = values["added_tokens"][: -small.NUM_TIMES]
    path.write_text(json.dumps(values).replace("<|nospeech|>", "<|nocaptions|>"))
    assert read_whisper(tmp_path).vocabulary == expected


def test_what_nobody_says_is_suppressed_where_the_checkpoint_does_not_tell(tmp_path: Path) -> None:
    """OpenAI's file says nothing; its code lists these symbols, alone and after a blank."""
    table = read_whisper(small.write_openai(tmp_path, OWN)).vocabulary
    said = {table.tokens[i].decode("latin-1") for i in table.suppressed}
    # As bytes alone: the music notes by their first byte, and " -", " '" by their blank.
    assert said == {*'"#()*+/:;<=>@[\\]^_`{|}~', " ", "\xe2"}


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_types_of_ctranslate2(dtype: torch.dtype, tmp_path: Path) -> None:
    imported = read_whisper(small.write_ctranslate2(tmp_path, OWN, dtype))
    check_numbers(imported.tensors)
    assert imported.tensors["encoder.conv1.weight"].dtype == dtype


def test_command_writes_a_checkpoint_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = small.write_ctranslate2(tmp_path, OWN)
    assert main(["import-whisper", str(folder), "--output", str(tmp_path / "out")]) == 0
    assert "2 layers of the encoder, 1867 tokens, 99 languages" in capsys.readouterr().out
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {
        *("config.json", "model.safetensors", "tokens.json")
    }
    stored = safetensors.torch.load_file(out / "model.safetensors")
    silence = stored.pop("text_decoder.silence")
    check_numbers(stored)
    # The encoder's output is normalised, whatever it heard.
    weight, bias = OWN["encoder.norm.weight"], OWN["encoder.norm.bias"]
    normed = (silence.float() - bias) / weight
    assert silence.shape == (small.POSITIONS // 10, small.C)
    torch.testing.assert_close(normed.mean(1), torch.zeros(4), atol=0.02, rtol=0.0)
    torch.testing.assert_close(normed.std(1, correction=0), torch.ones(4), atol=0.02, rtol=0.0)
    assert stored["encoder.conv1.weight"].dtype == torch.float16
    assert load_config_json(out) == read_whisper(folder).config
    assert ByteLevelTokenizer.from_file(out / "tokens.json").vocab_size == small.V


def test_what_is_written_is_loaded(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_folder(read_whisper(small.write_openai(tmp_path, OWN)), out)
    model = load_model(out)
    state = model.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in OWN.items())
    assert set(state) - set(OWN) == {*OPTIONAL, "cmvn_mean", "cmvn_std"}
    assert {name for name in OPTIONAL if bool(state[name].any())} == {SILENCE_ROWS}
    assert model.heads == {}


def refused(path: Path, *parts: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        read_whisper(path)
    for part in parts:
        assert part in str(caught.value)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    name = "text_decoder.layers.2.cross_key.weight"
    rest = {key: tensor for key, tensor in OWN.items() if key != name}
    refused(small.write_openai(tmp_path, rest), f"missing {name}")
    stored = small.fused(OWN)
    del stored["decoder/layer_2/attention/linear_1/weight"]
    (tmp_path / "model.bin").write_bytes(small.binary(stored))
    refused(tmp_path, f"missing {name}")


@each_layout
def test_tensors_that_do_not_fit_are_named(write: Writer, tmp_path: Path) -> None:
    name = "encoder.layers.1.ffn_out.bias"
    refused(write(tmp_path, OWN | {name: torch.zeros(3)}), f"{name}: found (3,), expected (8,)")
    infinite = OWN | {name: torch.full((small.C,), float("inf"))}
    refused(write(tmp_path, infinite), f"{name} has values that are not finite")


def test_a_released_name_is_held_to_its_sum(tmp_path: Path) -> None:
    small.write_openai(tmp_path, OWN, "base.pt")
    refused(tmp_path, "SHA-256", "ed3a0b6b1c0edf87", "another name")


@pytest.mark.parametrize("value", [3, {"dims": {}}, {"dims": {}, "model_state_dict": {"a": 1}}])
def test_another_pickle_is_refused(value: object, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "x.pt")
    refused(tmp_path, "lacks model_state_dict or dims")


def test_folders_without_what_is_needed(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "is no folder")
    refused(tmp_path, "has 0 of them")
    small.write_openai(tmp_path, OWN)
    (tmp_path / "multilingual.tiktoken").unlink()
    refused(tmp_path, "has no vocabulary")
    (tmp_path / "second.pt").write_bytes(b"")
    refused(tmp_path, "has 2 of them")
    refused(tmp_path / "second.pt", "is not a checkpoint")


@pytest.mark.parametrize(
    "file, text, message",
    [
        ("vocabulary.json", "[]", "has 0 tokens; expected 1867"),
        ("vocabulary.json", "{}", "is not a vocabulary"),
        ("vocabulary.json", "[1", "is not a vocabulary"),
        ("config.json", "[1", "cannot be read"),
        ("config.json", "[]", "holds a list"),
        ("config.json", '{"suppress_ids": 3}', "suppress_tokens is 3"),
        ("config.json", '{"suppress_ids": [5000]}', "suppressed has the id 5000"),
        ("config.json", '{"alignment_heads": [[9, 9]]}', "alignment_heads are ((9, 9),)"),
        ("config.json", '{"alignment_heads": [4]}', "its sizes cannot be told"),
    ],
)
def test_files_beside_the_weights(file: str, text: str, message: str, tmp_path: Path) -> None:
    small.write_ctranslate2(tmp_path, OWN)
    (tmp_path / file).write_text(text)
    refused(tmp_path, message)


def test_a_bias_of_keys_is_refused(tmp_path: Path) -> None:
    small.write_ctranslate2(tmp_path, OWN)
    stored = small.fused(OWN)
    stored["encoder/layer_0/self_attention/linear_0/bias"][small.C] = 1
    (tmp_path / "model.bin").write_bytes(small.binary(stored))
    refused(tmp_path, "bias of the keys")


DATA = small.binary({"encoder/x": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3).short()})


WITHOUT_ALIASES = len(DATA) - len(
    b"\1\0\0\0..decoder/projection/weight\0..decoder/embeddings/weight\0"
)


def test_variables(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(DATA)
    found = read_variables(tmp_path / "model.bin")
    assert found["encoder/x"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["n"].item() == 3 and found["n"].shape == ()


@settings(deadline=None)
@given(st.integers(0, len(DATA) - 1), st.integers(0, 255), st.booleans())
def test_a_damaged_file_is_an_error_or_other_numbers(at: int, byte: int, cut: bool) -> None:
    """A cut or a changed byte ends in one kind of error, and never in a read past the end."""
    data = DATA[:at] if cut else DATA[:at] + bytes([byte]) + DATA[at + 1 :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.bin"
        path.write_bytes(data)
        try:
            found = read_variables(path)
        except CheckpointError as error:
            assert str(path) in str(error)
        else:
            assert not cut or at == WITHOUT_ALIASES
            assert len(found) == 2


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "is empty"),
        (small.binary({}, version=5), "the version is 5"),
        (small.binary({"x": torch.zeros(2)}) + b"?", "1 bytes are left over"),
        (small.binary({"x": torch.zeros(2)}).replace(b"\0\x08\0\0\0", b"\1\x08\0\0\0"), "has 8"),
    ],
)
def test_files_that_are_not_read(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(data)
    with pytest.raises(CheckpointError, match=message):
        read_variables(tmp_path / "model.bin")
