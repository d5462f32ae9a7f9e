"""Checkpoints that stand on another one: what is kept, within what bound, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from echostream.config import SystemConfig
from echostream.errors import CheckpointError, ConfigError
from echostream.locations import cache_folder, find_checkpoint
from echostream.model import SpeechModel, load_model, save_difference, save_model
from echostream.model.checkpoint import CONFIG, WEIGHTS, tokens_path
from echostream.model.difference import (
    FILE,
    _packed,
    _unpacked,
    read_difference,
    sum_of,
    write_difference,
)
from echostream.shipped import SHIPPED_CHECKPOINT
from tests.small_system import ENCODER

SIZE = 64 * 70 + 5


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ECHOSTREAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def states(seed: int = 0) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A base, and what it was trained to."""
    torch.manual_seed(seed)
    base = {
        "large": torch.randn(SIZE).half(),
        "small": torch.randn(3, 4).half(),
        "same": torch.randn(64, 80).half(),
        "exact": torch.randn(5000).half(),
        "cmvn_mean": torch.randn(80),
        "left": torch.randn(7),
    }
    state = {name: t.float() + 0.01 * torch.randn(t.shape) for name, t in base.items()}
    state["same"] = base["same"].float()
    state["cmvn_mean"] = base["cmvn_mean"] + 1e-6
    state["new"] = torch.randn(90, 60)
    state["new zeros"] = torch.zeros(16)
    del state["left"]
    return state, base


def write(folder: Path, base_folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    state, base = states()
    base_folder.mkdir(parents=True)
    safetensors.torch.save_file(base, base_folder / WEIGHTS)
    write_difference(state, base, base_folder.name, folder, exact=["exact"])
    return state, base


def model() -> SpeechModel:
    torch.manual_seed(1)
    return SpeechModel(SystemConfig(asr_vocab_size=30, st_vocab_size=30, encoder=ENCODER))


def test_what_is_stored_and_what_comes_back(tmp_path: Path, cache: Path) -> None:
    state, base = write(tmp_path, cache / "basis")
    stored = safetensors.torch.load_file(tmp_path / FILE)
    kept = {"small", "exact", "cmvn_mean", "new zeros"}
    four_bits = {"large", "new"}
    assert set(stored) == kept | {f"{n}:{p}" for n in four_bits for p in ("values", "scales")}
    assert stored["large:values"].shape == (71, 32) and stored["large:scales"].shape == (71,)
    found = read_difference(tmp_path)
    assert torch.equal(found["same"], state["same"])
    assert torch.equal(found["cmvn_mean"], state["cmvn_mean"])
    for name in ("small", "exact", "new zeros"):
        assert torch.equal(found[name], state[name].half().float())
    for name in four_bits:
        old = base.get(name, torch.zeros(())).float()
        change = torch.zeros(-(-state[name].numel() // 64) * 64)
        change[: state[name].numel()] = (state[name] - old).flatten()
        bound = change.view(-1, 64).abs().amax(dim=1).repeat_interleave(64) / 14 * 1.002
        error = (found[name] - state[name]).abs().flatten()
        assert found[name].shape == state[name].shape
        assert bool((error <= bound[: len(error)] + 1e-7).all()), name
        assert float(error.max()) > 0


@settings(deadline=None, max_examples=50)
@given(st.floats(-30, 4), st.floats(-30, 4), st.integers(0, 100))
def test_scales_from_nothing_to_large(low: float, high: float, seed: int) -> None:
    """Each group has its own scale: numbers below what float16 holds become no difference."""
    generator = torch.Generator().manual_seed(seed)
    change = torch.cat([10**x * torch.randn(64, generator=generator) for x in (low, high)])
    values, scales = _packed(change)
    found = _unpacked({"x:values": values, "x:scales": scales}, "x", (2, 64), Path("x"))
    bound = change.view(2, 64).abs().amax(dim=1, keepdim=True) / 14 * 1.002
    # The scale itself is rounded, below 6e-5 to steps of 6e-8.
    assert bool(((found - change.view(2, 64)).abs() <= bound + 7 * 6e-8).all())


def test_by_hand(tmp_path: Path, cache: Path) -> None:
    """Values as the format describes them, without the writer."""
    base = {"w": torch.ones(3)}
    (cache / "basis").mkdir(parents=True)
    safetensors.torch.save_file(base, cache / "basis" / WEIGHTS)
    values = torch.full((1, 32), 0x88, dtype=torch.uint8)
    values[0, :2] = torch.tensor([0x1F, 0x89])  # 15 and 1, 9
    metadata = {
        **{"format": "echostream-difference-1", "base": "basis", "base_sum": sum_of(base)},
        "shapes": '{"w": [3]}',
    }
    tensors = {"w:values": values, "w:scales": torch.tensor([0.5]).half()}
    safetensors.torch.save_file(tensors, tmp_path / FILE, metadata=metadata)
    assert read_difference(tmp_path)["w"].tolist() == [4.5, -2.5, 1.5]


def test_what_the_base_has_otherwise_or_alone(tmp_path: Path, cache: Path) -> None:
    state, base = states()
    base["new"] = torch.randn(5000).half()
    (cache / "basis").mkdir(parents=True)
    safetensors.torch.save_file(base, cache / "basis" / WEIGHTS)
    write_difference(state, base, "basis", tmp_path)
    found = read_difference(tmp_path)
    assert set(found) == set(state)
    assert found["new"].shape == (90, 60)
    assert float((found["new"] - state["new"]).abs().max()) < 0.5


def test_a_model_on_its_base(tmp_path: Path, cache: Path) -> None:
    save_model(model(), cache / "basis", dtype=torch.float16)
    (cache / "basis" / "tokens.json").write_text("{}")
    trained = load_model("basis")
    with torch.no_grad():
        for parameter in trained.encoder.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape))
    save_difference(trained, "basis", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {CONFIG, FILE}
    again = load_model(tmp_path / "out")
    assert again.config == trained.config
    for name, tensor in trained.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, rtol=1e-3, atol=4e-3)
    assert tokens_path(tmp_path / "out") == cache / "basis" / "tokens.json"
    (tmp_path / "out" / "tokens.json").write_text("{}")
    assert tokens_path(tmp_path / "out") == tmp_path / "out" / "tokens.json"
    with pytest.raises(CheckpointError, match="stands on another itself"):
        save_difference(trained, tmp_path / "out", tmp_path / "third")


def test_only_what_changed_is_stored(tmp_path: Path, cache: Path) -> None:
    save_model(model(), cache / "basis", dtype=torch.float16)
    save_difference(load_model("basis"), "basis", tmp_path)
    assert safetensors.torch.load_file(tmp_path / FILE) == {}


def test_a_base_that_has_to_be_fetched(tmp_path: Path, cache: Path) -> None:
    state, base = states()
    write_difference(state, base, "whisper-base", tmp_path)
    with pytest.raises(CheckpointError, match="run `echostream fetch whisper-base` once"):
        read_difference(tmp_path)
    with pytest.raises(CheckpointError, match="run `echostream fetch whisper-base` once"):
        find_checkpoint("whisper-base")
    write_difference(state, base, "mine", tmp_path)
    with pytest.raises(CheckpointError, match="put that checkpoint's folder there"):
        read_difference(tmp_path)


def test_another_base_is_refused(tmp_path: Path, cache: Path) -> None:
    _, base = write(tmp_path, cache / "basis")
    base["small"][0, 0] += 1
    safetensors.torch.save_file(base, cache / "basis" / WEIGHTS)
    with pytest.raises(CheckpointError, match="expected .* those that .* was made from"):
        read_difference(tmp_path)
    (cache / "basis" / WEIGHTS).write_bytes(b"")
    with pytest.raises(CheckpointError, match="the base of"):
        read_difference(tmp_path)


def test_a_base_that_gained_empty_tensors_is_the_same(tmp_path: Path, cache: Path) -> None:
    _, base = write(tmp_path, cache / "basis")
    safetensors.torch.save_file(base | {"later": torch.zeros(9)}, cache / "basis" / WEIGHTS)
    assert torch.equal(read_difference(tmp_path)["later"], torch.zeros(9))


def rewritten(change: Callable[[dict[str, Tensor], dict[str, str]], object], path: Path) -> None:
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata())
    tensors = safetensors.torch.load_file(path)
    change(tensors, metadata)
    safetensors.torch.save_file(tensors, path, metadata=metadata)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t, _: t.pop("large:scales"), "no whole difference of large"),
        (lambda t, _: t.update({"large:values": t["large:values"][:9].clone()}), "71 groups of 64"),
        (lambda t, _: t.update({"large:scales": t["large:scales"].float()}), "71 groups of 64"),
        (lambda _, m: m.pop("base"), "header .* is damaged"),
        (lambda _, m: m.update(shapes="[1]"), "header .* is damaged"),
        (lambda _, m: m.update(shapes='{"large": [-5]}'), "header .* is damaged"),
        (lambda _, m: m.update(base="../elsewhere"), "which is no name"),
        (lambda _, m: m.update(format="other"), "has format 'other'"),
        (
            lambda _, m: m.update(shapes=json.dumps({"large": [SIZE, 1]})),
            r"changes large of shape \(4485, 1\)",
        ),
    ],
)
def test_damaged_files_are_refused(
    change: Callable[[dict[str, Tensor], dict[str, str]], object],
    message: str,
    tmp_path: Path,
    cache: Path,
) -> None:
    write(tmp_path, cache / "basis")
    rewritten(change, tmp_path / FILE)
    with pytest.raises(CheckpointError, match=message):
        read_difference(tmp_path)


def test_a_cut_file_is_refused(tmp_path: Path, cache: Path) -> None:
    write(tmp_path, cache / "basis")
    data = (tmp_path / FILE).read_bytes()
    for size in (0, 7, 100, len(data) - 1):
        (tmp_path / FILE).write_bytes(data[:size])
        with pytest.raises(CheckpointError, match="copy the checkpoint again"):
            read_difference(tmp_path)


def test_weights_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    state, base = states()
    state["large"][5] = 70_000
    with pytest.raises(CheckpointError, match="large has values that are not finite"):
        write_difference(state, base, "basis", tmp_path)
    assert not (tmp_path / FILE).exists()


def test_names(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_checkpoint("tiny-es-en") == SHIPPED_CHECKPOINT
    assert find_checkpoint("nowhere") == Path("nowhere")
    assert find_checkpoint("configs") == Path("configs")
    (tmp_path / "tiny-es-en").mkdir()
    assert find_checkpoint("tiny-es-en") == Path("tiny-es-en")
    (cache / "whisper-base").mkdir(parents=True)
    (cache / "whisper-base" / CONFIG).write_text("{}")
    assert find_checkpoint("whisper-base") == cache / "whisper-base"


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ECHOSTREAM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/echostream")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", "/root-of-somebody")
    assert cache_folder() == Path("/root-of-somebody/.cache/echostream")


def test_a_user_without_a_home_has_what_is_shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose user has no name."""

    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("ECHOSTREAM_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    assert find_checkpoint("tiny-es-en") == SHIPPED_CHECKPOINT
    with pytest.raises(ConfigError, match="set XDG_CACHE_HOME"):
        find_checkpoint("whisper-base")


def test_a_change_of_low_rank_comes_back_as_its_product(tmp_path: Path, cache: Path) -> None:
    state, base = write(tmp_path, cache / "basis")
    base["wide"] = state["wide"] = torch.randn(70, 50).half()
    safetensors.torch.save_file(base, cache / "basis" / WEIGHTS)
    left, right = torch.randn(70, 4), torch.randn(4, 50)
    write_difference(state, base, "basis", tmp_path, low_rank={"wide": (left, right)})
    found = read_difference(tmp_path)["wide"] - base["wide"].float()
    # Each factor is off by at most a fourteenth of its largest number.
    largest = (
        left.abs().max() * right.abs().sum(0).max(),
        right.abs().max() * left.abs().sum(1).max(),
    )
    torch.testing.assert_close(found, left @ right, rtol=0, atol=float(sum(largest) / 12))
    assert torch.linalg.matrix_rank(found) == 4
    stored = safetensors.torch.load_file(tmp_path / FILE)
    with safetensors.safe_open(tmp_path / FILE, framework="pt") as file:
        metadata = file.metadata()
    metadata["shapes"] = json.dumps(
        {k: v for k, v in json.loads(metadata["shapes"]).items() if k != "wide:right"}
    )
    safetensors.torch.save_file(stored, tmp_path / FILE, metadata=metadata)
    with pytest.raises(CheckpointError, match="half of a difference, wide:left"):
        read_difference(tmp_path)
