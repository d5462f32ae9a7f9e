"""Names to backends, what is refused, int8 and the command."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.backend import (
    CompiledEncoder,
    default_cache,
    in_int8,
    installed_backends,
    make_backend,
)
from echostream.commands import export as cli
from echostream.constants import BACKENDS
from echostream.encoder.protocol import Capabilities
from echostream.encoder.stream_state import StreamState
from echostream.errors import ConfigError
from echostream.kernel import quantise_int8
from echostream.shipped import SHIPPED_CHECKPOINT
from tests.encoder.small_encoder import fresh_encoder, small_encoder

from .compiled import error_of_int8, needs_openvino

FLOAT = torch.float32


def test_torch_is_the_encoder_itself() -> None:
    encoder = small_encoder(4, FLOAT)
    assert make_backend(encoder) is encoder
    with pytest.raises(ConfigError, match="float32 only here"):
        make_backend(encoder, precision="int8")


def test_an_encoder_says_itself_what_it_is_in_int8() -> None:
    known = SimpleNamespace(capabilities=Capabilities(int8=True), in_int8=lambda: "in int8")
    assert in_int8(known) == "in int8"
    with pytest.raises(ConfigError, match="ZipformerEncoder has float32 only"):
        in_int8(small_encoder(4, FLOAT))


@pytest.mark.parametrize(
    "options, match",
    [
        ({"backend": "tensorrt"}, "tensorrt.*torch, inductor, openvino"),
        ({"precision": "int4"}, "int4.*float32, int8"),
        ({"threads": 0}, "threads is 0"),
    ],
    ids=str,
)
def test_unknown_names_are_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        make_backend(small_encoder(4, FLOAT), **options)


def test_auto_takes_the_first_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = small_encoder(4, FLOAT)
    assert installed_backends()[-1] == "torch"
    assert set(installed_backends()) <= set(BACKENDS)
    chosen = make_backend(encoder, "auto")
    name = chosen.name if isinstance(chosen, CompiledEncoder) else "torch"
    assert name == installed_backends()[0]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert installed_backends() == ("torch",)
    assert make_backend(encoder, "auto") is encoder
    with pytest.raises(ConfigError, match=r"openvino is not installed.*echostream\[backends"):
        make_backend(encoder, "openvino")


@pytest.mark.parametrize("change", ["double", "train"])
def test_encoders_that_cannot_be_compiled(change: str) -> None:
    needs_openvino()
    encoder = fresh_encoder()
    with pytest.raises(ConfigError, match="use backend torch"):
        make_backend(getattr(encoder, change)(), "openvino")


def test_int8_is_near_and_not_the_same() -> None:
    needs_openvino()
    assert 1e-4 < error_of_int8("openvino") < 0.1


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 1000), st.sampled_from((0, 1)), st.sampled_from((0.0, 1e-3, 1.0, 300.0)))
def test_int8_is_the_nearest(seed: int, axis: int, size: float) -> None:
    weights = size * np.random.default_rng(seed).standard_normal((7, 5)).astype(np.float32)
    values, scales = quantise_int8(weights, axis)
    assert values.dtype == np.int8 and scales.shape[axis] == 1
    assert np.abs(values * scales - weights).max(initial=0) <= scales.max() * 0.5001
    # The largest weight of each output is kept exactly.
    assert size == 0.0 or (np.abs(values).max(axis=axis) == 127).all()


def test_export_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings reach the compiler; what it does is tested elsewhere."""
    needs_openvino()
    states: list[StreamState] = []
    monkeypatch.setattr(CompiledEncoder, "prepare", lambda self, state: states.append(state))
    arguments = [str(SHIPPED_CHECKPOINT), "--backend", "openvino"]
    options = ["--chunk-ms", "160", "--max-future-frames", "3", "--batch-size", "1", "4"]
    assert cli.main([*arguments, *options, "--cache", str(tmp_path)]) == 0
    assert [state.batch_size for state in states] == [1, 4]
    for state in states:
        assert (state.chunk_size, state.left_context, state.max_future_frames) == (8, 128, 3)
    printed = capsys.readouterr().out
    assert "4 stream(s), chunk 160 ms, left context 2560 ms" in printed
    assert str(tmp_path) in printed
    for wrong in (["--chunk-ms", "170"], ["--chunk-ms", "20"], ["--max-future-frames", "x"]):
        assert cli.main([*arguments, *wrong]) == 2
    assert "--max-future-frames is 'x'" in capsys.readouterr().err
    assert cli.main([str(SHIPPED_CHECKPOINT), "--backend", "torch"]) == 2
    assert "needs no export" in capsys.readouterr().err


def test_default_cache_lies_beside_the_weights() -> None:
    assert default_cache(Path("models/one")) == Path("models/one/compiled")
