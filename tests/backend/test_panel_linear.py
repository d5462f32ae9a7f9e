"""The kernel of linear layers, without a graph around it."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from echostream.backend import panel_linear
from echostream.backend.huge_pages import in_huge_pages
from tests.encoder.small_encoder import noise

from .needs import needs_bytes, needs_compiler

FLOAT = torch.float32


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


def test_huge_pages_hold_what_is_written() -> None:
    for count in (0, 1, 3_000_001):
        numbers = in_huge_pages(count)
        assert numbers.shape == (count,) and numbers.dtype == FLOAT and numbers.is_contiguous()
        assert not numbers.any()
        numbers.copy_(torch.arange(count))
        assert numbers.sum(dtype=torch.float64) == pytest.approx(count * (count - 1) / 2, rel=1e-6)
