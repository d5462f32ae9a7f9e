"""The kernel of linear layers, and the operators that stand for it where a graph is traced."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from echostream.backend.kernel_operators import (
    packed_linear,
    packed_linear_add,
    packed_linear_int8,
    packed_linear_int8_add,
)
from echostream.kernel import (
    Kernel,
    has_int8_products,
    pack_weights,
    pack_weights_int8,
)
from tests.encoder.small_encoder import noise

from .needs import needs_compiler, needs_int8

FLOAT = torch.float32


layers = given(
    rows=st.integers(1, 35),
    inputs=st.integers(1, 70),
    outputs=st.integers(1, 100),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)


def linear(
    kernel: Kernel,
    x: Tensor,
    weights: Tensor,
    outputs: int,
    precision: str,
    result: Tensor | None = None,
    threads: int = 1,
    *,
    swoosh_epilogue: bool = False,
    plus: Tensor | None = None,
) -> Tensor:
    """The kernel's function, without a graph around it."""
    y = x.new_empty(x.shape[0], outputs) if result is None else result
    function = {
        "float32": kernel.library.echostream_linear,
        "int8": kernel.library.echostream_linear_int8,
    }[precision]
    function(
        *(x.data_ptr(), *x.shape, weights.data_ptr(), outputs),
        *(swoosh_epilogue, None if plus is None else plus.data_ptr(), y.data_ptr(), threads),
    )
    return y


def stored_layer(
    rows: int, inputs: int, outputs: int, bias: bool, seed: int
) -> tuple[Tensor, Tensor | None]:
    """Weight and bias."""
    torch.manual_seed(seed)
    weight, offset = torch.randn(outputs, inputs), torch.randn(outputs)
    return weight, offset if bias else None


def layer(rows: int, inputs: int, outputs: int, bias: bool, seed: int) -> tuple[Tensor, ...]:
    """Input, packed layer, and what torch makes of it in float64."""
    weight, used = stored_layer(rows, inputs, outputs, bias, seed)
    x = torch.randn(rows, inputs)
    exact = functional.linear(x.double(), weight.double(), None if used is None else used.double())
    return x, pack_weights(weight, used), exact


@settings(deadline=None, max_examples=60)
@layers
def test_what_is_traced_is_the_layer(**shape: Any) -> None:
    x, packed, exact = layer(**shape)
    weights = torch.cat((noise(5, dtype=FLOAT), packed, noise(7, dtype=FLOAT)))
    y = packed_linear(x, weights, 5, shape["outputs"], 0)
    torch.testing.assert_close(y.double(), exact, atol=1e-4, rtol=1e-4)
    plus = noise(*y.shape, dtype=FLOAT)
    assert torch.equal(packed_linear_add(x, weights, 5, plus), plus + y)
    activated = packed_linear(x, weights, 5, shape["outputs"], 1)
    torch.testing.assert_close(activated.double(), swoosh_l(exact), atol=1e-4, rtol=1e-4)


@needs_compiler
@settings(deadline=None, max_examples=150)
@layers
def test_the_kernel_computes_the_layer(kernel: Kernel, **shape: Any) -> None:
    x, packed, exact = layer(**shape)
    y = linear(kernel, x, packed, shape["outputs"], "float32")
    torch.testing.assert_close(y.double(), exact, atol=1e-4, rtol=1e-4)
    check_rows_and_threads(kernel, x, packed, y, "float32")
    check_swoosh(kernel, x, packed, y, "float32")
    check_plus(kernel, x, packed, y, "float32")


def swoosh_l(x: Tensor) -> Tensor:
    """In float64, by the formula of the paper."""
    x = x.double()
    return torch.logaddexp(torch.zeros_like(x), x - 4) - 0.08 * x - 0.035


def check_swoosh(kernel: Kernel, x: Tensor, packed: Tensor, y: Tensor, precision: str) -> None:
    """Of the layer's result, which must not be rounded otherwise before."""
    activated = linear(kernel, x, packed, y.shape[1], precision, swoosh_epilogue=True)
    torch.testing.assert_close(activated.double(), swoosh_l(y), atol=2e-6, rtol=1e-6)


def check_plus(kernel: Kernel, x: Tensor, packed: Tensor, y: Tensor, precision: str) -> None:
    """As if it were added afterwards."""
    plus = noise(*y.shape, dtype=FLOAT)
    whole = linear(kernel, x, packed, y.shape[1], precision, plus=plus)
    assert torch.equal(whole, plus + y)


def check_rows_and_threads(
    kernel: Kernel, x: Tensor, packed: Tensor, y: Tensor, precision: str
) -> None:
    """A row is the same bits whoever its neighbours are, and however many threads compute."""
    assert torch.equal(linear(kernel, x, packed, y.shape[1], precision, threads=2), y)
    for row in range(0, len(x), 3):
        alone = linear(kernel, x[row : row + 1].contiguous(), packed, y.shape[1], precision)
        assert torch.equal(alone[0], y[row])


@settings(deadline=None, max_examples=60)
@layers
def test_what_is_traced_of_int8_is_near_the_layer(**shape: Any) -> None:
    """Within what rounding 127 steps to each side can do; weights themselves are the nearest."""
    x, _, exact = layer(**shape)
    weight, bias = stored_layer(**shape)
    packed = pack_weights_int8(weight, bias)
    weights = torch.cat((noise(5, dtype=FLOAT), packed, noise(7, dtype=FLOAT)))
    y = packed_linear_int8(x, weights, 5, shape["outputs"], 0)
    largest_x, largest_w = x.abs().max(), weight.abs().amax(1)
    sizes = x.abs().sum(1, keepdim=True) * largest_w + weight.abs().sum(1) * largest_x
    assert bool(((y - exact).abs() <= sizes * 0.505 / 127 + 1e-4).all())
    plus = noise(*y.shape, dtype=FLOAT)
    assert torch.equal(packed_linear_int8_add(x, weights, 5, plus), plus + y)


@needs_int8
@settings(deadline=None, max_examples=150)
@layers
def test_the_int8_kernel_computes_what_is_traced(kernel: Kernel, **shape: Any) -> None:
    x, _, _ = layer(**shape)
    # Numbers that are whole after scaling, so that no tie is rounded to the other side.
    x = (x * 20).round().clamp(-127, 127)
    x[:, 0] = 127.0
    packed = pack_weights_int8(*stored_layer(**shape))
    y = linear(kernel, x, packed, shape["outputs"], "int8")
    expected = packed_linear_int8(x, packed, 0, shape["outputs"], 0)
    torch.testing.assert_close(y, expected, atol=1e-2, rtol=1e-4)
    check_rows_and_threads(kernel, x, packed, y, "int8")
    check_swoosh(kernel, x, packed, y, "int8")
    check_plus(kernel, x, packed, y, "int8")


@needs_int8
def test_rows_of_zeros_and_large_numbers_in_bytes(kernel: Kernel) -> None:
    weight, bias = stored_layer(0, 70, 40, True, 3)
    packed = pack_weights_int8(weight, bias)
    assert torch.equal(linear(kernel, torch.zeros(3, 70), packed, 40, "int8")[1], bias)
    large = linear(kernel, torch.full((1, 70), 1e20), packed, 40, "int8")
    exact = functional.linear(torch.full((1, 70), 1e20), weight, bias)
    assert bool(((large - exact).abs() < 1e20).all())


@needs_compiler
@pytest.mark.parametrize("precision", ["float32", pytest.param("int8", marks=needs_int8)])
def test_what_is_not_finite_stays_in_its_row(kernel: Kernel, precision: str) -> None:
    """And is not made a number of either."""
    arrange = pack_weights if precision == "float32" else pack_weights_int8
    packed = arrange(*stored_layer(0, 70, 40, True, 3))
    x = noise(9, 70, dtype=FLOAT)
    before = linear(kernel, x, packed, 40, precision)
    for row, rubbish in ((2, float("nan")), (5, float("inf")), (6, -float("inf"))):
        x[row, 33] = rubbish
    after = linear(kernel, x, packed, 40, precision)
    rubbish_rows = torch.tensor([2, 5, 6])
    assert not bool(after[rubbish_rows].isfinite().any())
    others = torch.tensor([row for row in range(9) if row not in (2, 5, 6)])
    assert torch.equal(after[others], before[others])


@needs_compiler
def test_writing_stops_at_the_layers_edge(kernel: Kernel) -> None:
    """What stands after the result is left alone, though a tile is wider than the layer."""
    x, packed, _ = layer(3, 20, 33, True, 0)
    whole = torch.full((3 * 33 + 40,), 7.0)
    for precision, layer_pack in (
        ("float32", packed),
        ("int8", pack_weights_int8(*stored_layer(3, 20, 33, True, 0))),
    ):
        if precision == "int8" and not has_int8_products():
            continue
        y = linear(kernel, x, layer_pack, 33, precision)
        linear(kernel, x, layer_pack, 33, precision, result=whole)
        assert torch.equal(whole[: 3 * 33].view(3, 33), y)
        assert bool((whole[3 * 33 :] == 7.0).all())
