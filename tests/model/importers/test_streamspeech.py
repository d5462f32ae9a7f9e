"""Reading checkpoints of the published code: what is taken, in which order, and what is refused."""

import argparse
import collections
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from echostream.commands.import_streamspeech import main
from echostream.decoder import Tokenizer, blank_index
from echostream.decoder.ctc.ctc_head import CtcHead
from echostream.errors import CheckpointError, ConfigError
from echostream.model import SpeechModel, load_model
from echostream.model.importers.streamspeech import convert, read_checkpoint
from tests.encoder.small_encoder import noise

from .fairseq_files import (
    EMBED_DIM,
    SOURCE_TEXT,
    SPECIALS,
    Release,
    make_release,
    pieces_of,
    published_encoder,
    train_pieces,
)


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return make_release(tmp_path / "release")


def published_log_probs(release: Release, name: str, frames: Tensor) -> Tensor:
    """By fairseq symbol."""
    weight, bias = (release.model[f"{name}_decoder.proj.{part}"] for part in ("weight", "bias"))
    return (frames @ weight.T + bias).log_softmax(dim=-1)


def head_log_probs(tensors: dict[str, Tensor], frames: Tensor) -> Tensor:
    """By CTC index."""
    head = CtcHead(EMBED_DIM, len(tensors["projection.bias"]) - 1)
    head.load_state_dict(tensors)
    with torch.no_grad():
        return head(frames)


def test_sizes_and_configuration(release: Release) -> None:
    converted = convert(
        release.checkpoint, **release.files(), source_language="es", target_language="en"
    )
    config = converted.config
    assert (config.asr_vocab_size, config.st_vocab_size) == (44, 40)
    assert (config.source_language, config.target_language) == ("es", "en")
    assert config.audio.lead_in_samples == 240
    expected = published_encoder()
    assert config.encoder == expected.config
    for name, tensor in expected.state_dict().items():
        assert torch.equal(converted.encoder[name], tensor), name
    assert converted.cmvn is None
    model = SpeechModel(config)
    assert set(model.state_dict()) - set(converted.state_dict()) == {"cmvn_mean", "cmvn_std"}
    model.load_state_dict(converted.state_dict(), strict=False)


def test_heads_give_the_published_probabilities(release: Release) -> None:
    converted = convert(release.checkpoint, **release.files())
    frames = noise(1, 7, EMBED_DIM, dtype=torch.float32)
    for name, spm, tensors in (
        ("source_unigram", release.source_spm, converted.asr_head),
        ("ctc_target_unigram", release.target_spm, converted.st_head),
    ):
        published = published_log_probs(release, name, frames)
        ours = head_log_probs(tensors, frames)
        pieces = pieces_of(spm)
        assert pieces[:4] == SPECIALS
        symbols = SPECIALS + pieces[4:]  # fairseq's dictionary: the pieces in order of their ids
        assert ours.shape[2] == len(pieces) + 1
        for index, piece in enumerate(pieces):
            if piece != "<s>":
                torch.testing.assert_close(ours[..., index], published[..., symbols.index(piece)])
        blank = blank_index(len(pieces))
        torch.testing.assert_close(ours[..., blank], published[..., symbols.index("<s>")])
        assert float(ours[..., pieces.index("<s>")].exp().max()) == 0.0
        # What is masked in the search is what is special.
        silent = set(Tokenizer(spm).suppressed)
        assert silent == {pieces.index(piece) for piece in SPECIALS}


def test_without_vocabularies_ids_are_fairseqs(
    release: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`import-streamspeech CKPT OUT` and nothing else."""
    out = tmp_path / "out"
    assert main([str(release.checkpoint), str(out)]) == 0
    assert "source.model" in capsys.readouterr().err
    model = load_model(out)
    frames = noise(1, 7, EMBED_DIM, dtype=torch.float32)
    with torch.no_grad():
        ours = model.asr_head(frames)
    published = published_log_probs(release, "source_unigram", frames)
    torch.testing.assert_close(ours[..., 1:-1], published[..., 1:])
    torch.testing.assert_close(ours[..., -1], published[..., 0])
    assert float(ours[..., 0].exp().max()) == 0.0


@pytest.mark.parametrize("special_ids", [{}, {"pad_id": 7, "unk_id": 5}, {"bos_id": -1}])
def test_rows_go_by_the_piece(release: Release, special_ids: dict[str, int]) -> None:
    """A dictionary in another order than the SentencePiece ids."""
    spm = train_pieces(release.folder / "own.model", SOURCE_TEXT, 44, **special_ids)
    pieces = pieces_of(spm)
    symbols = [piece for piece in pieces if piece not in SPECIALS]
    random.Random(1).shuffle(symbols)
    dictionary = release.folder / "dict.txt"
    dictionary.write_text("".join(f"{symbol} 1\n" for symbol in symbols), encoding="utf-8")
    size = len(symbols) + 4
    for part, shape in (("weight", (size, EMBED_DIM)), ("bias", (size,))):
        release.model[f"source_unigram_decoder.proj.{part}"] = noise(*shape, seed=3).float()
    release.save()
    converted = convert(
        release.checkpoint,
        source_spm=spm,
        target_spm=release.target_spm,
        source_dict=dictionary,
    )
    frames = noise(1, 7, EMBED_DIM, dtype=torch.float32)
    published = published_log_probs(release, "source_unigram", frames)
    ours = head_log_probs(converted.asr_head, frames)
    # Up to the symbols that the SentencePiece model lacks, which no text has taught either.
    lacking = [index for index, symbol in enumerate(SPECIALS[1:], 1) if symbol not in pieces]
    left = torch.log1p(-published[..., lacking].exp().sum(-1, keepdim=True))
    symbols = SPECIALS + symbols
    for index, piece in enumerate(pieces):
        if piece != "<s>":
            expected = (published - left)[..., symbols.index(piece)]
            torch.testing.assert_close(ours[..., index], expected)
    torch.testing.assert_close(ours[..., len(pieces)], (published - left)[..., 0])


def test_half_precision_is_widened(release: Release) -> None:
    release.model = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in release.model.items()
    }
    release.save()
    converted = convert(release.checkpoint, **release.files())
    for name, tensor in converted.state_dict().items():
        expected = torch.int64 if name.endswith("num_batches_tracked") else torch.float32
        assert tensor.dtype == expected, name


def test_statistics(release: Release) -> None:
    converted = convert(release.checkpoint, **release.files(), gcmvn=release.gcmvn)
    assert converted.cmvn is not None
    np.testing.assert_array_equal(converted.cmvn.mean, np.linspace(3, 9, 80, dtype="f4"))
    assert set(converted.state_dict()) == set(SpeechModel(converted.config).state_dict())


@pytest.mark.parametrize(
    ("cfg", "chunk"),
    [
        ({"model": argparse.Namespace(chunk_size=32)}, 32),
        ({"model": {"chunk_size": 16}}, 16),
        ({"model": argparse.Namespace(chunk_size=999999)}, 8),
        ({"model": argparse.Namespace()}, 8),
        (None, 8),
    ],
)
def test_chunk_of_training(release: Release, cfg: Any, chunk: int) -> None:
    release.save(cfg=cfg)
    config = convert(release.checkpoint, **release.files()).config
    assert config.encoder.chunk_size == chunk
    config = convert(release.checkpoint, **release.files(), chunk_size=2).config
    assert config.encoder.chunk_size == 2
    with pytest.raises(ConfigError, match="even"):
        convert(release.checkpoint, **release.files(), chunk_size=3)


def test_old_options_and_weights_alone(release: Release) -> None:
    release.save(args=argparse.Namespace(chunk_size=16), cfg=None)
    assert convert(release.checkpoint, **release.files()).config.encoder.chunk_size == 16
    torch.save({"model": release.model}, release.checkpoint)
    assert convert(release.checkpoint, **release.files()).config.encoder.chunk_size == 8


def test_other_classes_are_refused(release: Release) -> None:
    release.save(extra_state=collections.UserDict(a=1))
    with pytest.raises(CheckpointError, match=r"object of collections.UserDict.*weights_only"):
        read_checkpoint(release.checkpoint)


def test_namespaces_are_let_in_for_this_file_only(release: Release) -> None:
    read_checkpoint(release.checkpoint)
    assert argparse.Namespace not in torch.serialization.get_safe_globals()


@pytest.mark.parametrize("kept", [0, 1, 100, -1000, -1])
def test_truncated_file(release: Release, kept: int) -> None:
    data = release.checkpoint.read_bytes()
    release.checkpoint.write_bytes(data[:kept])
    with pytest.raises(CheckpointError, match="copy it again"):
        read_checkpoint(release.checkpoint)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("content", [b"not a pickle", b"\x80\x02.", b"PK\x03\x04", b"\x80\x04N."])
def test_other_files(release: Release, content: bytes) -> None:
    release.checkpoint.write_bytes(content)
    with pytest.raises(CheckpointError):
        read_checkpoint(release.checkpoint)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        read_checkpoint(tmp_path / "none.pt")


@pytest.mark.parametrize(
    "content", [torch.zeros(3), {"weights": torch.zeros(3)}, {"model": [1]}, {"model": {"a": 1}}]
)
def test_no_fairseq_checkpoint(release: Release, content: Any) -> None:
    torch.save(content, release.checkpoint)
    with pytest.raises(CheckpointError, match="expected a fairseq checkpoint"):
        read_checkpoint(release.checkpoint)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("encoder.linear.weight", None, "encoder.linear.weight of shape None"),
        ("encoder.linear.bias", None, "missing encoder.linear.bias"),
        ("encoder.conformer_layers.1.self_attn.linear_pos.weight", None, "layers.1.*linear_pos"),
        ("encoder.conformer_layers.0.self_attn.pos_bias_u", None, "--pos-enc-type rel_pos"),
        (
            "encoder.conformer_layers.3.ffn1.w_1.bias",
            torch.zeros(24),
            r"missing encoder.conformer_layers.2.*more",
        ),
        ("encoder.spk_emb_proj.weight", torch.zeros(2, 2), "unexpected encoder.spk_emb_proj"),
        ("encoder.linear.bias", torch.zeros(3), r"found \(3,\), expected \(16,\)"),
        ("encoder.linear.weight", torch.zeros(17, 17), "sizes that do not fit.*embed_dim is 17"),
        ("encoder.linear.weight", torch.zeros(3), "expected 2 dimensions"),
        ("encoder.linear.bias", torch.full((16,), torch.nan), "not finite"),
        ("source_unigram_decoder.proj.weight", None, "source_unigram.*None.*40 pieces"),
        ("ctc_target_unigram_decoder.proj.bias", torch.zeros(9), r"ctc_target.*\(9,\).*\(40,\)"),
        ("ctc_target_unigram_decoder.proj.bias", torch.full((40,), torch.inf), "not finite"),
    ],
)
def test_weights_that_do_not_fit(
    release: Release, name: str, value: Tensor | None, message: str
) -> None:
    if value is None:
        del release.model[name]
    else:
        release.model[name] = value
    release.save()
    with pytest.raises(CheckpointError, match=message):
        convert(release.checkpoint, **release.files())


def test_swapped_vocabularies(release: Release) -> None:
    with pytest.raises(CheckpointError, match=r"\(44, 16\).*expected \(40, 16\).*36 pieces"):
        convert(release.checkpoint, source_spm=release.target_spm, target_spm=release.source_spm)


def test_dictionary_of_another_vocabulary(release: Release) -> None:
    dictionary = release.folder / "dict.txt"
    pieces = pieces_of(release.target_spm)[4:]
    dictionary.write_text("".join(f"{piece} 1\n" for piece in pieces), encoding="utf-8")
    with pytest.raises(CheckpointError, match="SentencePiece model has .* the dictionary lacks"):
        convert(release.checkpoint, **release.files(), source_dict=dictionary)
    own = [*pieces_of(release.source_spm)[4:], "madeupword0000"]
    dictionary.write_text("".join(f"{piece} 1\n" for piece in own), encoding="utf-8")
    with pytest.raises(CheckpointError, match="dictionary has 1 pieces .*'madeupword0000'"):
        convert(release.checkpoint, **release.files(), source_dict=dictionary)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 1\nb\n", "line 2 is 'b'"),
        ("a 1\n\nb 1\n", "line 2 is ''"),
        ("a x\n", "line 1"),
        ("a 1\na 1\n", "line 2 repeats 'a'"),
        ("<s> 1\n", "line 1 repeats '<s>'"),
    ],
)
def test_malformed_dictionary(release: Release, text: str, message: str) -> None:
    dictionary = release.folder / "dict.txt"
    dictionary.write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=message):
        convert(release.checkpoint, **release.files(), target_dict=dictionary)


@pytest.mark.parametrize("content", [None, b"", b"abc", b"\xff\xfe"])
def test_wrong_vocabulary_files(release: Release, content: bytes | None) -> None:
    path = release.folder / "other"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match="SentencePiece model"):
        convert(release.checkpoint, source_spm=path, target_spm=release.target_spm)
    if content != b"":
        with pytest.raises(CheckpointError, match="dictionary|line 1"):
            convert(release.checkpoint, **release.files(), source_dict=path)


@pytest.mark.parametrize(
    "arrays",
    [
        None,
        {"mean": np.zeros(80)},
        {"mean": np.zeros(79), "std": np.ones(79)},
        {"mean": np.zeros(80), "std": -np.ones(80)},
        {"mean": np.full(80, np.nan), "std": np.ones(80)},
        {"mean": np.array([{}] * 80), "std": np.ones(80)},
    ],
)
def test_wrong_statistics(release: Release, arrays: dict[str, Any] | None) -> None:
    if arrays is None:
        release.gcmvn.write_bytes(b"abc")
    else:
        np.savez(release.gcmvn, **arrays)
    with pytest.raises(CheckpointError, match="expected gcmvn.npz"):
        convert(release.checkpoint, **release.files(), gcmvn=release.gcmvn)


def test_command(release: Release, capsys: pytest.CaptureFixture[str]) -> None:
    out = release.folder / "imported"
    arguments = [str(release.checkpoint), str(out), "--source-language", "fr"]
    arguments += ["--source-spm", str(release.source_spm), "--target-spm", str(release.target_spm)]
    arguments += ["--target-language", "en"]
    assert main([*arguments, "--gcmvn", str(release.gcmvn)]) == 0
    assert "44 source and 40 target pieces" in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == [
        "config.json", "model.safetensors", "source.model", "target.model",
    ]  # fmt: skip
    model = load_model(out)
    assert Tokenizer(out / "source.model").vocab_size == 44
    np.testing.assert_array_equal(model.cmvn.std, np.linspace(1, 2, 80, dtype="f4"))
    features = noise(1, 100, 80, dtype=torch.float32)
    with torch.no_grad():
        frames = published_encoder()(features)["encoder_out"]
        assert torch.equal(model.encoder(features)["encoder_out"], frames)
        ours = model.st_head(frames)
    published = published_log_probs(release, "ctc_target_unigram", frames)
    torch.testing.assert_close(ours[..., 1:40], published[..., 1:])

    assert main(arguments) == 0
    assert "no --gcmvn" in capsys.readouterr().err
    release.checkpoint.write_bytes(b"")
    assert main(arguments) == 1
    assert capsys.readouterr().err.startswith("echostream import-streamspeech: error: ")
    assert main([]) == 2
    assert main(["--help"]) == 0
