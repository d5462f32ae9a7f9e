"""Checkpoints as folders; a host's default dtype changes nothing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from echostream.audio import Cmvn
from echostream.baseline.attention import _table
from echostream.config import SystemConfig, load_config
from echostream.encoder.attention import relative_positions
from echostream.encoder.chunk_masks import _cached_chunk_masks
from echostream.errors import CheckpointError, ConfigError
from echostream.model import SpeechModel, load_model, save_model
from echostream.model.checkpoint import CONFIG, WEIGHTS, load_config_json
from echostream.session import SystemOptions, build_translator
from tests.small_system import ENCODER

CONFIGURATION = SystemConfig(
    source_language="español",
    asr_vocab_size=11,
    st_vocab_size=7,
    encoder=ENCODER,
)


@pytest.fixture
def model() -> SpeechModel:
    torch.manual_seed(0)
    model = SpeechModel(CONFIGURATION)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape))
    model.set_cmvn(Cmvn(np.linspace(-9, 3, 80, dtype="f4"), np.linspace(0.7, 4, 80, dtype="f4")))
    return model


@pytest.fixture
def folder(model: SpeechModel, tmp_path: Path) -> Path:
    save_model(model, tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def rewrite(folder: Path, **changes: torch.Tensor | None) -> None:
    """Replace, add or (with None) drop tensors; dots in their names are written as ``__``."""
    tensors = safetensors.torch.load_file(folder / WEIGHTS)
    for name, tensor in changes.items():
        name = name.replace("__", ".")
        if tensor is None:
            del tensors[name]
        else:
            tensors[name] = tensor
    safetensors.torch.save_file(tensors, folder / WEIGHTS)


def test_round_trip(model: SpeechModel, folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [CONFIG, WEIGHTS]
    loaded = load_model(folder)
    assert loaded.config == CONFIGURATION == load_config_json(folder)
    assert not loaded.training
    expected = model.state_dict()
    assert list(loaded.state_dict()) == list(expected)
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    np.testing.assert_array_equal(loaded.cmvn.mean, model.cmvn.mean)
    np.testing.assert_array_equal(loaded.cmvn.std, model.cmvn.std)
    assert loaded.encoder.fingerprint() == model.encoder.fingerprint()


def test_float16_storage(model: SpeechModel, folder: Path, tmp_path: Path) -> None:
    save_model(model, tmp_path / "half", dtype=torch.float16)
    stored = safetensors.torch.load_file(tmp_path / "half" / WEIGHTS)
    loaded = load_model(tmp_path / "half").state_dict()
    for name, tensor in model.state_dict().items():
        cmvn = name in ("cmvn_mean", "cmvn_std")
        assert stored[name].dtype == (torch.float32 if cmvn else torch.float16), name
        expected = tensor if cmvn else tensor.half().float()
        assert loaded[name].dtype == torch.float32
        assert torch.equal(loaded[name], expected), name
    numbers = model.num_parameters
    sizes = [(f / WEIGHTS).stat().st_size for f in (folder, tmp_path / "half")]
    assert sizes[0] - sizes[1] == pytest.approx(2 * numbers, rel=0.05)


def test_float16_that_cannot_hold_the_weights(model: SpeechModel, tmp_path: Path) -> None:
    """Above 65504 float16 is infinite: refused when saving, not found out when loading."""
    with torch.no_grad():
        model.encoder.stem.projection.weight[0, 0] = 1e5
    with pytest.raises(CheckpointError, match=r"stem\.projection\.weight"):
        save_model(model, tmp_path / "half", dtype=torch.float16)


def test_saving_again_replaces(model: SpeechModel, folder: Path) -> None:
    with torch.no_grad():
        model.cmvn_mean += 1.0
    save_model(model, folder)
    assert torch.equal(load_model(folder).cmvn_mean, model.cmvn_mean)
    assert sorted(path.name for path in folder.iterdir()) == [CONFIG, WEIGHTS]


def test_saving_leaves_the_model_alone(model: SpeechModel, tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    save_model(model.train(), tmp_path / "half", dtype=torch.float16)
    assert model.training
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == torch.float32 and torch.equal(tensor, before[name])


@pytest.mark.fault("F27")
@pytest.mark.parametrize("keep", [0, 1, 7, 8, 100, -1])
def test_truncated_weights(folder: Path, keep: int) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[:keep])
    with pytest.raises(CheckpointError, match=r"cannot load the weights .*model\.safetensors"):
        load_model(folder)


@pytest.mark.fault("F28")
def test_all_misfits_are_listed(folder: Path) -> None:
    rewrite(
        folder, cmvn_mean=torch.zeros(40), extra=torch.zeros(2), encoder__memory__empty_slot=None
    )
    with pytest.raises(CheckpointError) as caught:
        load_model(folder)
    for part in (
        "missing encoder.memory.empty_slot",
        "unexpected extra",
        "cmvn_mean: found (40,), expected (80,)",
    ):
        assert part in str(caught.value)
    assert "more" not in str(caught.value)


@pytest.mark.fault("F28")
def test_many_misfits_are_counted(folder: Path) -> None:
    """Weights of a whole other model: ten named, the rest counted."""
    safetensors.torch.save_file({"x": torch.zeros(1)}, folder / WEIGHTS)
    with pytest.raises(CheckpointError) as caught:
        load_model(folder)
    missing = len(SpeechModel(CONFIGURATION).state_dict())
    assert str(caught.value).count("missing") == 10
    assert f"and {missing + 1 - 10} more" in str(caught.value)


def change_configuration(folder: Path, change: dict[str, Any]) -> None:
    values = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    values["encoder"] |= change
    (folder / CONFIG).write_text(json.dumps(values), encoding="utf-8")


@pytest.mark.fault("F29")
def test_configuration_that_does_not_fit_the_weights(folder: Path) -> None:
    change_configuration(folder, {"memory_dim": 8})
    with pytest.raises(CheckpointError, match=r"memory\.query\.weight: found \(16, 24\), expected"):
        load_model(folder)


@pytest.mark.fault("F31", "F34")
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["encoder__stem__norm__bias", "cmvn_std"])
def test_weights_that_are_not_finite(folder: Path, name: str, value: float) -> None:
    tensor = safetensors.torch.load_file(folder / WEIGHTS)[name.replace("__", ".")]
    tensor[0] = value
    rewrite(folder, **{name: tensor})
    with pytest.raises(CheckpointError, match=f"{name.replace('__', '.')} .*not finite"):
        load_model(folder)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        load_model(folder)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere.*No such file.*model\.safetensors"):
        load_model(tmp_path / "nowhere")


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe\x80", b"nonsense"])
def test_configuration_that_is_not_json(folder: Path, text: bytes) -> None:
    (folder / CONFIG).write_bytes(text)
    with pytest.raises(CheckpointError, match="not valid JSON"):
        load_model(folder)


def test_configuration_that_is_wrong_in_itself(folder: Path) -> None:
    change_configuration(folder, {"chunk_sice": 8})
    with pytest.raises(ConfigError, match="chunk_size"):
        load_model(folder)
    (folder / CONFIG).write_text("[1]")
    with pytest.raises(ConfigError, match="keys and values"):
        load_model(folder)


DTYPES = (torch.float64, torch.bfloat16, torch.float16)


@pytest.fixture(autouse=True)
def usual_dtype() -> Iterator[None]:
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("config", ["tiny", "streamspeech-tiny"])
def test_a_random_model_computes_the_same(config: str) -> None:
    def computed(before: torch.dtype, after: torch.dtype) -> list[Tensor]:
        for cached in (_cached_chunk_masks, relative_positions, _table):
            cached.cache_clear()
        torch.set_default_dtype(before)
        torch.manual_seed(1)
        model = SpeechModel(load_config(f"configs/{config}.yaml")).eval()
        torch.set_default_dtype(after)
        features = torch.linspace(-1, 1, 200 * 80, dtype=torch.float32).view(1, 200, 80)
        with torch.no_grad():
            y, _, state = model.encoder.step(features, model.encoder.init_state(), is_final=True)
            offline = model.encoder(features, torch.tensor([150]))["encoder_out"]
            heads = [head(y) for head in model.heads.values()]
        return [*heads, y, offline, *(tensor for _, tensor in state.named_tensors())]

    expected = computed(torch.float32, torch.float32)
    for dtype in DTYPES:
        for before, after in ((dtype, dtype), (torch.float32, dtype), (dtype, torch.float32)):
            found = computed(before, after)
            assert [t.dtype for t in found] == [t.dtype for t in expected]
            assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("decoder", ["greedy", "prefix-beam"])
def test_the_shipped_checkpoint_writes_the_same_words(decoder: str) -> None:
    audio = 0.1 * np.random.default_rng(0).standard_normal(48_000).astype(np.float32)

    def words(before: torch.dtype, after: torch.dtype) -> tuple[str, ...]:
        torch.set_default_dtype(before)
        translator = build_translator(SystemOptions(decoder=decoder))
        torch.set_default_dtype(after)
        step, _ = translator.step(audio, 16_000, translator.init_state(), is_final=True)
        return step.words

    expected = words(torch.float32, torch.float32)
    for dtype in DTYPES:
        assert words(dtype, dtype) == words(torch.float32, dtype) == expected
