"""The graph compiled by torch's own compiler, and the kernel of its linear layers.

A graph takes up to a minute to compile, so one serves most of these tests, and one the slow one.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from echostream.agent.options import SHIPPED_CHECKPOINT
from echostream.backend import CompiledEncoder, installed_backends, make_backend, panel_linear
from echostream.backend.huge_pages import in_huge_pages
from echostream.backend.inductor_engine import Inductor
from echostream.encoder.stream_state import StreamState
from echostream.encoder.zipformer import ZipformerEncoder
from echostream.errors import ConfigError
from echostream.model import load_model
from tests.encoder.small_encoder import INPUT_DIM, noise, small_encoder

from .compiled import CHUNKINGS, error_of_int8

AVAILABLE = "inductor" in installed_backends(at_once=False)
needs_compiler = pytest.mark.skipif(not AVAILABLE, reason="no C++ compiler: apt-get install g++")
needs_bytes = pytest.mark.skipif(
    not (AVAILABLE and panel_linear.multiplies_bytes()), reason="no products of bytes here"
)
BATCHES = {4: 1, 0: 2}
"""Streams of the graph of each memory size."""
FLOAT = torch.float32


def temporary_files_in(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go from now on."""
    temporary = folder / "temporary"
    temporary.mkdir()
    patch.setattr(tempfile, "tempdir", str(temporary))
    patch.setenv("TMPDIR", str(temporary))
    return temporary


class Compiled(NamedTuple):
    """The graph of most tests, made once."""

    cache: Path
    temporary: Path
    """Where temporary files went meanwhile."""


@pytest.fixture(scope="module")
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    folder = tmp_path_factory.mktemp("compiled")
    with pytest.MonkeyPatch.context() as patch:
        temporary = temporary_files_in(folder, patch)
        encoder = inductor(folder / "graphs")
        encoder.prepare(state_of(encoder))
    return Compiled(folder / "graphs", temporary)


@pytest.fixture(scope="module")
def cache(compiled_once: Compiled) -> Path:
    return compiled_once.cache


def inductor(cache: Path, memory_size: int = 4, **options: Any) -> CompiledEncoder:
    encoder = make_backend(small_encoder(memory_size, FLOAT), "inductor", cache=cache, **options)
    assert isinstance(encoder, CompiledEncoder)
    return encoder


def state_of(encoder: CompiledEncoder | ZipformerEncoder, memory_size: int = 4) -> StreamState:
    return encoder.init_state(BATCHES[memory_size], **CHUNKINGS[memory_size])


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> panel_linear.Kernel:
    path = tmp_path_factory.mktemp("kernel") / "panel_linear.so"
    panel_linear.compile_kernel(path)
    return panel_linear.Kernel(path)


layers = given(
    rows=st.integers(1, 35),
    inputs=st.integers(1, 70),
    outputs=st.integers(1, 100),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)


def linear(
    kernel: panel_linear.Kernel,
    x: Tensor,
    weights: Tensor,
    outputs: int,
    precision: str,
    result: Tensor | None = None,
) -> Tensor:
    """The kernel's function, without a graph around it."""
    y = x.new_empty(x.shape[0], outputs) if result is None else result
    function = {
        "float32": kernel.library.echostream_linear,
        "int8": kernel.library.echostream_linear_of_bytes,
    }[precision]
    given, layer, to = (ctypes.c_void_p(tensor.data_ptr()) for tensor in (x, weights, y))
    size = ctypes.c_int64
    function(given, size(x.shape[0]), size(x.shape[1]), layer, size(outputs), to)
    return y


def stored_layer(
    rows: int, inputs: int, outputs: int, bias: bool, seed: int
) -> tuple[Tensor, Tensor | None]:
    """Weight and bias."""
    torch.manual_seed(seed)
    weight, offset = torch.randn(outputs, inputs), torch.randn(outputs)
    return weight, offset if bias else None


def layer(rows: int, inputs: int, outputs: int, bias: bool, seed: int) -> tuple[Tensor, ...]:
    """Input, layer in panels, and what torch makes of it in float64."""
    weight, used = stored_layer(rows, inputs, outputs, bias, seed)
    x = torch.randn(rows, inputs)
    exact = functional.linear(x.double(), weight.double(), None if used is None else used.double())
    return x, panel_linear.in_panels(weight, used), exact


@settings(deadline=None, max_examples=60)
@layers
def test_what_is_traced_is_the_layer(**shape: Any) -> None:
    x, panels, exact = layer(**shape)
    weights = torch.cat((noise(5, dtype=FLOAT), panels, noise(7, dtype=FLOAT)))
    y = panel_linear.panel_linear(x, weights, 5, shape["outputs"])
    torch.testing.assert_close(y.double(), exact, atol=1e-4, rtol=1e-4)


@needs_compiler
@settings(deadline=None, max_examples=150)
@layers
def test_the_kernel_computes_the_layer(kernel: panel_linear.Kernel, **shape: Any) -> None:
    x, panels, exact = layer(**shape)
    kernel.set_threads(1)
    y = linear(kernel, x, panels, shape["outputs"], "float32")
    torch.testing.assert_close(y.double(), exact, atol=1e-4, rtol=1e-4)
    check_rows_and_threads(kernel, x, panels, y, "float32")


def check_rows_and_threads(
    kernel: panel_linear.Kernel, x: Tensor, panels: Tensor, y: Tensor, precision: str
) -> None:
    """A row is the same bits whoever its neighbours are, and however many threads compute."""
    kernel.set_threads(2)
    assert torch.equal(linear(kernel, x, panels, y.shape[1], precision), y)
    kernel.set_threads(1)
    for row in range(0, len(x), 3):
        alone = linear(kernel, x[row : row + 1].contiguous(), panels, y.shape[1], precision)
        assert torch.equal(alone[0], y[row])


@settings(deadline=None, max_examples=60)
@layers
def test_what_is_traced_of_bytes_is_near_the_layer(**shape: Any) -> None:
    """Within what rounding 127 steps to each side can do; weights themselves are the nearest."""
    x, _, exact = layer(**shape)
    weight, bias = stored_layer(**shape)
    panels = panel_linear.in_panels_of_bytes(weight, bias)
    weights = torch.cat((noise(5, dtype=FLOAT), panels, noise(7, dtype=FLOAT)))
    y = panel_linear.panel_linear_of_bytes(x, weights, 5, shape["outputs"])
    largest_x, largest_w = x.abs().max(), weight.abs().amax(1)
    sizes = x.abs().sum(1, keepdim=True) * largest_w + weight.abs().sum(1) * largest_x
    assert bool(((y - exact).abs() <= sizes * 0.505 / 127 + 1e-4).all())


@needs_bytes
@settings(deadline=None, max_examples=150)
@layers
def test_the_kernel_of_bytes_computes_what_is_traced(
    kernel: panel_linear.Kernel, **shape: Any
) -> None:
    x, _, _ = layer(**shape)
    # Numbers that are whole after scaling, so that no tie is rounded to the other side.
    x = (x * 20).round().clamp(-127, 127)
    x[:, :: panel_linear.GROUP] = 127.0
    panels = panel_linear.in_panels_of_bytes(*stored_layer(**shape))
    kernel.set_threads(1)
    y = linear(kernel, x, panels, shape["outputs"], "int8")
    expected = panel_linear.panel_linear_of_bytes(x, panels, 0, shape["outputs"])
    torch.testing.assert_close(y, expected, atol=1e-2, rtol=1e-4)
    check_rows_and_threads(kernel, x, panels, y, "int8")


@needs_bytes
def test_rows_of_zeros_and_large_numbers_in_bytes(kernel: panel_linear.Kernel) -> None:
    weight, bias = stored_layer(0, 70, 40, True, 3)
    panels = panel_linear.in_panels_of_bytes(weight, bias)
    kernel.set_threads(1)
    assert torch.equal(linear(kernel, torch.zeros(3, 70), panels, 40, "int8")[1], bias)
    large = linear(kernel, torch.full((1, 70), 1e20), panels, 40, "int8")
    exact = functional.linear(torch.full((1, 70), 1e20), weight, bias)
    assert bool(((large - exact).abs() < 1e20).all())


@needs_compiler
def test_writing_stops_at_the_layers_edge(kernel: panel_linear.Kernel) -> None:
    """What stands after the result is left alone, though panels are wider than the layer."""
    x, panels, _ = layer(3, 20, 33, True, 0)
    kernel.set_threads(1)
    whole = torch.full((3 * 33 + 40,), 7.0)
    for precision, layer_in_panels in (
        ("float32", panels),
        ("int8", panel_linear.in_panels_of_bytes(*stored_layer(3, 20, 33, True, 0))),
    ):
        if precision == "int8" and not panel_linear.multiplies_bytes():
            continue
        y = linear(kernel, x, layer_in_panels, 33, precision)
        linear(kernel, x, layer_in_panels, 33, precision, result=whole)
        assert torch.equal(whole[: 3 * 33].view(3, 33), y)
        assert bool((whole[3 * 33 :] == 7.0).all())


@needs_compiler
def test_streaming_equals_forward(cache: Path) -> None:
    encoder = small_encoder(4, FLOAT)
    compiled = inductor(cache)
    features = noise(1, 2 * 16 * 21 + 9, INPUT_DIM, dtype=FLOAT)
    with torch.no_grad():
        expected = encoder(features, **CHUNKINGS[4])["encoder_out"]
    state, outputs = state_of(compiled), []
    for start in range(0, features.shape[1], 50):
        piece = features[:, start : start + 50]
        end = start + 50 >= features.shape[1]
        y, _, state = compiled.step(piece, state, is_final=end)
        outputs.append(y)
    torch.testing.assert_close(torch.cat(outputs, 1), expected, atol=2e-5, rtol=1e-5)
    assert float(expected.std()) > 0.1


@needs_compiler
def test_denormal_numbers_stay_numbers(kernel: panel_linear.Kernel, cache: Path) -> None:
    """A library built with fast arithmetic would flush them to zero in all that the thread does."""
    compiled = inductor(cache)
    compiled.step(noise(1, 32, INPUT_DIM, dtype=FLOAT), state_of(compiled))
    assert np.float32(1e-38) * np.float32(1e-3) > 0


@needs_compiler
def test_a_stream_goes_on_in_torch_and_back(cache: Path) -> None:
    encoder, compiled = small_encoder(4, FLOAT), inductor(cache)
    features = noise(1, 32 * 6, INPUT_DIM, dtype=FLOAT)
    alone, moved, frames = state_of(encoder), state_of(compiled), []
    for number, piece in enumerate(features.split(32, 1)):
        expected, _, alone = encoder.step(piece, alone)
        y, _, moved = (compiled, encoder)[number % 2].step(piece, moved)
        frames.append((y, expected))
        saved = moved.to_bytes(encoder.fingerprint())
        moved = StreamState.from_bytes(saved, encoder)
    for y, expected in frames:
        torch.testing.assert_close(y, expected, atol=2e-5, rtol=1e-5)


@needs_compiler
def test_a_forked_process_goes_on(cache: Path) -> None:
    """The thread that the graph runs in is not there any more."""
    compiled = inductor(cache)
    features = noise(1, 64, INPUT_DIM, dtype=FLOAT)
    expected, _, _ = compiled.step(features, state_of(compiled))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of forks beside threads.
        process = multiprocessing.get_context("fork").Process(
            target=_check_step, args=(compiled, features, expected)
        )
        process.start()
    process.join(60)
    code = process.exitcode
    process.kill()
    assert code == 0


def _check_step(compiled: CompiledEncoder, features: Tensor, expected: Tensor) -> None:
    torch.set_num_threads(1)
    y, _, _ = compiled.step(features, state_of(compiled))
    os._exit(0 if torch.equal(y, expected) else 3)


@needs_compiler
@pytest.mark.slow
def test_streams_of_a_batch_do_not_meet(cache: Path) -> None:
    """One of them idle, one with numbers that are not finite."""
    encoder, compiled = small_encoder(0, FLOAT), inductor(cache, 0)
    features = noise(2, 16, INPUT_DIM, dtype=FLOAT)
    state = state_of(compiled, 0)
    _, _, state = compiled.step(features, state)
    before = {name: tensor.clone() for name, tensor in state.named_tensors()}
    active = torch.tensor([True, False])
    y, counts, after = compiled.step(features, state, active=active)
    assert counts.tolist() == [8, 0]
    for name, tensor in after.named_tensors():
        assert torch.equal(tensor[1], before[name][1]), name
    poisoned = features.clone()
    poisoned[1] = float("nan")
    beside, _, _ = compiled.step(poisoned, state)
    assert torch.equal(beside[0], y[0])
    solo = encoder.init_state(1, **CHUNKINGS[0])
    for _ in range(2):
        expected, _, solo = encoder.step(features[:1], solo)
    torch.testing.assert_close(y[:1], expected, atol=2e-5, rtol=1e-5)


@needs_compiler
def test_a_later_start_needs_no_compiler(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And auto takes what was compiled before, on the processor that it was compiled for."""
    first = inductor(cache)
    first.prepare(state_of(first))
    assert make_backend(small_encoder(4, FLOAT), "auto", cache=cache).name == "inductor"  # type: ignore[union-attr]

    def refuse(*_: Any) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(Inductor, "export", refuse)
    again = inductor(cache, threads=2)
    features = noise(1, 96, INPUT_DIM, dtype=FLOAT)
    y, _, _ = again.step(features, state_of(again))
    assert torch.equal(y, first.step(features, state_of(first))[0])

    others = small_encoder(4, FLOAT), small_encoder(0, FLOAT)
    monkeypatch.setattr(panel_linear, "_processor", lambda: b"another processor")
    for encoder, folder in ((others[0], cache), (others[1], cache / "none"), (others[1], None)):
        chosen = make_backend(encoder, "auto", cache=folder)
        assert getattr(chosen, "name", "torch") != "inductor"
    with pytest.raises(AssertionError, match="compiled again"):
        inductor(cache).prepare(state_of(first))


@needs_compiler
def test_compiling_leaves_nothing_behind(compiled_once: Compiled) -> None:
    assert list(compiled_once.temporary.iterdir()) == []
    assert list(compiled_once.cache.glob("inductor-*/graph.so"))


@needs_compiler
@pytest.mark.parametrize("what", ["kernel", "graph"])
def test_a_compiler_that_fails_is_quoted_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    temporary = temporary_files_in(tmp_path, monkeypatch)
    if what == "kernel":
        broken = tmp_path / "c++"
        broken.write_text("#!/bin/sh\necho out of letters >&2\nexit 1\n")
        broken.chmod(0o755)
        monkeypatch.setenv("CXX", str(broken))
    else:

        def fail(*_: Any) -> None:
            (Path(torch._inductor.runtime.cache_dir_utils.cache_dir()) / "half").touch()
            raise RuntimeError("out of letters")

        monkeypatch.setattr("torch._inductor.aot_compile", fail)
    failing = inductor(tmp_path / "cache")
    with pytest.raises(ConfigError, match="out of letters.*backend"):
        failing.prepare(state_of(failing))
    assert list(temporary.iterdir()) == [] and list((tmp_path / "cache").iterdir()) == []


@needs_compiler
def test_int8_is_refused_where_bytes_cannot_be_multiplied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panel_linear, "_processor", lambda: b"flags : sse2 avx2")
    with pytest.raises(ConfigError, match="int8.*inductor.*float32 only here.*openvino"):
        inductor(tmp_path, precision="int8")


@needs_bytes
@pytest.mark.slow
def test_int8_is_near_and_not_the_same(cache: Path) -> None:
    """And in a batch to the bit what it is alone."""
    assert 1e-4 < error_of_int8("inductor", cache) < 0.1
    encoder = load_model(SHIPPED_CHECKPOINT).encoder
    assert isinstance(encoder, ZipformerEncoder)
    compiled = make_backend(encoder, "inductor", precision="int8", cache=cache)
    features = noise(3, 70, 80, dtype=FLOAT)
    together, _, _ = compiled.step(features, compiled.init_state(3), is_final=True)
    for row in range(3):
        alone, _, _ = compiled.step(features[row : row + 1], compiled.init_state(), is_final=True)
        assert torch.equal(alone[0], together[row])


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    assert "inductor" not in installed_backends(at_once=False)
    with pytest.raises(ConfigError, match=r"inductor is not installed; .*compiler.*g\+\+"):
        make_backend(small_encoder(4, FLOAT), "inductor")


def test_huge_pages_hold_what_is_written() -> None:
    for count in (0, 1, 3_000_001):
        numbers = in_huge_pages(count)
        assert numbers.shape == (count,) and numbers.dtype == FLOAT and numbers.is_contiguous()
        assert not numbers.any()
        numbers.copy_(torch.arange(count))
        assert numbers.sum(dtype=torch.float64) == pytest.approx(count * (count - 1) / 2, rel=1e-6)


def test_graphs_know_what_they_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's source and the processor's instructions."""
    versions = {panel_linear.kernel_version()}
    monkeypatch.setattr(panel_linear, "_processor", lambda: b"another processor")
    versions.add(panel_linear.kernel_version())
    monkeypatch.setattr(panel_linear, "_SOURCE", Path(__file__))
    versions.add(panel_linear.kernel_version())
    assert len(versions) == 3
