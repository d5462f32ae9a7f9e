"""Backends other than torch, stood in for by encoders that are wrong in known ways."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from echostream.encoder.stream_state import StreamState
from echostream.encoder.zipformer import ZipformerEncoder
from echostream.errors import ConfigError
from echostream.verification.subjects import Backends, subjects_of
from tests.encoder.subjects import small_whisper

Change = Callable[[StreamState], StreamState]


class Stand:
    """An encoder that steps as the model's does, with its state changed after each step."""

    def __init__(self, encoder: ZipformerEncoder, change: Change, scale: float = 1.0) -> None:
        # A copy: the model's own would be taken for torch, and its modules would be watched.
        self._encoder = copy.deepcopy(encoder)
        self._change, self._scale = change, scale
        self.init_state = encoder.init_state
        self.capabilities = encoder.capabilities
        self.restore = encoder.restore
        self.fingerprint = encoder.fingerprint

    def step(self, *args: Any, **options: Any) -> tuple[Tensor, Tensor, Any]:
        y, lengths, state = self._encoder.step(*args, **options)
        return y * self._scale, lengths, self._change(state)


def late_conv1(state: StreamState) -> StreamState:
    """The first convolution's cache of the third stack is one frame late."""
    if not bool(state.processed_frames.all()):
        return state
    late = "stacks.2.layers.0.conv1"
    return state.map(lambda name, x: x.roll(1, dims=1) if name == late else x)


def unchanged(state: StreamState) -> StreamState:
    return state


def backends(change: Change, *precisions: str, scale: float = 1.0) -> Backends:
    def make(encoder: ZipformerEncoder, name: str, **_: Any) -> Stand:
        assert name == "stand"
        return Stand(encoder, change, scale)

    return Backends(("stand",), precisions, make)


def test_a_good_backend_is_equal(verified) -> None:
    certificate = verified(
        backend="stand", precision="all", backends=backends(unchanged, "float32")
    )
    assert certificate.equal
    scenarios = [result.scenario for result in certificate.results]
    assert {"moved between backends", "agent: any segments", "batch of lengths"} < set(scenarios)
    assert "other chunkings" not in scenarios, "each would be another graph"


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_the_state_tells_which_cache_of_a_backend_is_wrong(verified, precision: str) -> None:
    certificate = verified(
        backend="stand",
        precision=precision,
        backends=backends(late_conv1, precision),
        scenarios=("ragged cuts",),
    )
    first = certificate.first_break.difference
    assert first.module == "state.stacks.2.layers.0.conv1" or precision == "int8"


def test_float32_must_equal_torch_and_int8_only_itself(verified) -> None:
    rounded = backends(unchanged, "float32", "int8", scale=1.01)
    certificate = verified(
        backend="stand", precision="all", backends=rounded, scenarios=("ragged cuts", "silence")
    )
    assert certificate.first_break_of(("stand", "float32")).difference.module == "encoder"
    assert certificate.first_break_of(("stand", "int8")) is None
    assert all(result.equal for result in certificate.results_of(("stand", "int8")))


def test_all_means_every_backend_and_precision(translate) -> None:
    model = translate().listener.model
    found = subjects_of(model, backends=backends(unchanged, "float32", "int8"))
    assert [subject.name for subject in found] == [
        "torch float64",
        "torch float32",
        "stand float32",
        "stand int8",
    ]
    assert found[0].model.encoder.dtype == torch.float64
    assert model.encoder.dtype == torch.float32


def test_rounding_is_measured_where_torch_computes_in_float32(translate) -> None:
    model = translate().listener.model
    double, single, stand, _ = subjects_of(model, backends=backends(unchanged, "float32", "int8"))
    torch.manual_seed(0)
    features = torch.randn(150, model.encoder.input_dim)
    offline = single.offline(features, {})
    found = single.rounding(features, {}, offline)
    assert 0 < found["encoder"] < 1e-5
    # Of every module that is watched, but not of what a state carries.
    assert set(found) == {name for name in offline if not name.startswith("state.")}
    assert stand.rounding(features, {}, offline) == {}
    assert double.rounding(features.double(), {}, offline) == {}


def test_whisper_in_int8_is_verified_in_torch(translate) -> None:
    model = copy.deepcopy(translate().listener.model)
    model.encoder = small_whisper(torch.float32)
    found = subjects_of(model, backends=backends(unchanged, "float32", "int8"))
    assert [each.name for each in found] == ["torch float64", "torch float32", "torch int8"]
    assert found[2].encoder.precision == "int8"


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"backend": "tensorrt"}, "expected all or one of those installed: torch, stand"),
        ({"backend": "torch", "precision": "int8"}, "no precision int8"),
        ({"backend": "stand", "precision": "float64"}, "no precision float64"),
        ({"precision": "float16"}, "expected one of all, float32, float64, int8"),
    ],
)
def test_what_there_is_not_is_refused(translate, choice: dict[str, str], message: str) -> None:
    model = translate().listener.model
    with pytest.raises(ConfigError, match=message):
        subjects_of(model, backends=backends(unchanged, "float32", "int8"), **choice)


def test_the_installed_backends_verify_the_small_checkpoint(verified, tmp_path) -> None:
    """Those of :mod:`echostream.backend`, whichever are installed here."""
    installed = Backends()
    if not installed.installed:
        pytest.skip("no compiled backend is installed")
    fastest = Backends.fastest()
    assert fastest.installed == installed.installed[:1]
    certificate = verified(
        backend=fastest.installed[0],
        precision="float32",
        backends=fastest,
        scenarios=("ragged cuts", "agent: saved and restored"),
    )
    assert certificate.equal
