"""The kernel of linear layers, against the same in float64; tensors in huge pages."""

import gc
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from echostream.kernel import (
    GELU,
    SWOOSH_L,
    HugePages,
    Kernel,
    in_huge_pages,
    pack_weights,
    pack_weights_int8,
    unpack_weights,
)

from .needs import needs_compiler, needs_int8_layers
from .reference import linear_int8, swoosh_l, torch_threads, unpack_weights_int8

PRECISIONS = [
    pytest.param("float32", marks=needs_compiler),
    pytest.param("int8", marks=needs_int8_layers),
]


class Layer(NamedTuple):
    x: Tensor
    weight: Tensor
    bias: Tensor | None

    @property
    def outputs(self) -> int:
        return self.weight.shape[0]

    @property
    def exact(self) -> Tensor:
        bias = None if self.bias is None else self.bias.double()
        return functional.linear(self.x.double(), self.weight.double(), bias)

    def packed(self, precision: str) -> Tensor:
        """In the middle of the weights of other layers, as in a graph."""
        pack = pack_weights if precision == "float32" else pack_weights_int8
        return torch.cat((torch.randn(5), pack(self.weight, self.bias), torch.randn(7)))


def layer(rows: int, inputs: int, outputs: int, bias: bool, seed: int) -> Layer:
    torch.manual_seed(seed)
    offset = torch.randn(outputs) if bias else None
    return Layer(torch.randn(rows, inputs), torch.randn(outputs, inputs), offset)


layers = st.builds(
    layer,
    rows=st.integers(1, 35),
    inputs=st.integers(1, 70),
    outputs=st.integers(1, 100),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)


def linear(kernel: Kernel, x: Tensor, weights: Tensor, outputs: int, precision: str) -> Tensor:
    operation = kernel.packed_linear if precision == "float32" else kernel.packed_linear_int8
    return operation(x, weights, 5, outputs, 0)


def check_variants(kernel: Kernel, case: Layer, weights: Tensor, y: Tensor, precision: str) -> None:
    """SwooshL or GELU of the result, not rounded otherwise before; an addend, as if it
    were added afterwards; and a row is the same bits beside others, on any number of threads."""
    int8 = precision == "int8"
    operation = kernel.packed_linear_int8 if int8 else kernel.packed_linear
    activated = operation(case.x, weights, 5, case.outputs, SWOOSH_L)
    torch.testing.assert_close(activated.double(), swoosh_l(y), atol=2e-6, rtol=1e-6)
    activated = operation(case.x, weights, 5, case.outputs, GELU)
    expected = functional.gelu(y.double())
    torch.testing.assert_close(activated.double(), expected, atol=1e-6, rtol=1e-6)
    addend = torch.randn(y.shape)
    add = kernel.packed_linear_int8_add if int8 else kernel.packed_linear_add
    assert torch.equal(add(case.x, weights, 5, addend), addend + y)
    with torch_threads(2):
        assert torch.equal(linear(kernel, case.x, weights, case.outputs, precision), y)
    for row in range(0, len(y), 3):
        alone = linear(kernel, case.x[row : row + 1], weights, case.outputs, precision)
        assert torch.equal(alone[0], y[row])


@needs_compiler
@settings(deadline=None, max_examples=150)
@given(case=layers)
def test_the_kernel_computes_the_layer(kernel: Kernel, case: Layer) -> None:
    weights = case.packed("float32")
    y = linear(kernel, case.x, weights, case.outputs, "float32")
    torch.testing.assert_close(y.double(), case.exact, atol=1e-4, rtol=1e-4)
    check_variants(kernel, case, weights, y, "float32")


@settings(deadline=None, max_examples=60)
@given(case=layers)
def test_packed_weights_are_the_layers(case: Layer) -> None:
    """In int8 within what rounding 127 steps to each side can do."""
    inputs = case.x.shape[1]
    weight, bias = unpack_weights(case.packed("float32")[5:-7], inputs, case.outputs)
    assert torch.equal(weight, case.weight)
    assert torch.equal(bias, torch.zeros(case.outputs) if case.bias is None else case.bias)
    packed = case.packed("int8")[5:-7]
    weight, scales, bias = unpack_weights_int8(packed, inputs, case.outputs)
    assert bool(((weight * scales[:, None] - case.weight).abs() <= scales[:, None] * 0.501).all())
    assert torch.equal(bias, torch.zeros(case.outputs) if case.bias is None else case.bias)
    largest_x, largest_w = case.x.abs().max(), case.weight.abs().amax(1)
    sizes = case.x.abs().sum(1, keepdim=True) * largest_w + case.weight.abs().sum(1) * largest_x
    off = linear_int8(case.x, packed, case.outputs) - case.exact
    assert bool((off.abs() <= sizes * 0.505 / 127 + 1e-4).all())


@needs_int8_layers
@settings(deadline=None, max_examples=150)
@given(case=layers)
def test_the_int8_kernel_computes_the_reference(kernel: Kernel, case: Layer) -> None:
    # Values that are whole after scaling, so that no tie is rounded to the other side.
    x = (case.x * 20).round().clamp(-127, 127)
    x[:, 0] = 127.0
    case = case._replace(x=x)
    weights = case.packed("int8")
    y = linear(kernel, x, weights, case.outputs, "int8")
    expected = linear_int8(x, weights[5:-7], case.outputs)
    torch.testing.assert_close(y, expected, atol=1e-2, rtol=1e-4)
    check_variants(kernel, case, weights, y, "int8")


@needs_int8_layers
def test_rows_of_zeros_and_large_values_in_int8(kernel: Kernel) -> None:
    case = layer(1, 70, 40, True, 3)
    weights = case.packed("int8")
    assert torch.equal(linear(kernel, torch.zeros(3, 70), weights, 40, "int8")[1], case.bias)  # type: ignore[arg-type]
    case = case._replace(x=torch.full((1, 70), 1e20))
    assert bool(((linear(kernel, case.x, weights, 40, "int8") - case.exact).abs() < 1e20).all())


@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_is_not_finite_stays_in_its_row(kernel: Kernel, precision: str) -> None:
    """And is not made finite either."""
    case = layer(9, 70, 40, True, 3)
    x, weights = case.x, case.packed(precision)
    before = linear(kernel, x, weights, 40, precision)
    for row, rubbish in ((2, float("nan")), (5, float("inf")), (6, -float("inf"))):
        x[row, 33] = rubbish
    after = linear(kernel, x, weights, 40, precision)
    rubbish_rows = torch.tensor([2, 5, 6])
    assert not bool(after[rubbish_rows].isfinite().any())
    others = torch.tensor([row for row in range(9) if row not in (2, 5, 6)])
    assert torch.equal(after[others], before[others])


@needs_compiler
def test_any_shape_and_layout(kernel: Kernel) -> None:
    case = layer(10, 20, 33, True, 0)
    weights, x = case.packed("float32"), case.x.view(2, 5, 20)
    y = linear(kernel, x, weights, 33, "float32")
    assert y.shape == (2, 5, 33) and torch.equal(
        y.flatten(0, 1), linear(kernel, case.x, weights, 33, "float32")
    )
    across = x.transpose(0, 1)
    assert not across.is_contiguous()
    assert torch.equal(linear(kernel, across, weights, 33, "float32"), y.transpose(0, 1))
    assert linear(kernel, x[:, :0], weights, 33, "float32").shape == (2, 0, 33)


@needs_compiler
def test_other_types_are_refused(kernel: Kernel) -> None:
    """Half of a float64 would be read as a float32."""
    with pytest.raises(RuntimeError, match="computes in float32"):
        kernel.swoosh_r(torch.zeros(3, dtype=torch.float64))
    bank = torch.zeros(80)
    with pytest.raises(RuntimeError, match="expects int64"):
        kernel.log_mel(torch.zeros(400), 1, torch.zeros(400), bank, bank, bank)


FLOAT = torch.float32


def test_huge_pages_hold_what_is_written() -> None:
    for count in (0, 1, 3_000_001):
        numbers = in_huge_pages(count)
        assert numbers.shape == (count,) and numbers.dtype == FLOAT and numbers.is_contiguous()
        assert not numbers.any()
        numbers.copy_(torch.arange(count))
        assert numbers.sum(dtype=torch.float64) == pytest.approx(count * (count - 1) / 2, rel=1e-6)


@settings(deadline=None, max_examples=30)
@given(counts=st.lists(st.integers(0, 300), max_size=40), block=st.integers(1, 400))
def test_tensors_side_by_side_do_not_meet(counts: list[int], block: int) -> None:
    """However they fall into blocks, also those that are larger than a block."""
    pages = HugePages()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HugePages, "_BLOCK", block)
        placed = [pages.place(torch.full((count,), float(n))) for n, count in enumerate(counts)]
    for n, (tensor, count) in enumerate(zip(placed, counts, strict=True)):
        assert tensor.shape == (count,) and bool((tensor == n).all())
        assert tensor.data_ptr() % 64 == 0


def test_a_block_goes_with_its_last_tensor() -> None:
    pages = HugePages()
    first = pages.place(torch.ones(10))
    block = first.untyped_storage()._weak_ref()
    second = pages.place(torch.ones(HugePages._BLOCK))
    del first
    gc.collect()
    assert torch.UntypedStorage._expired(block)  # type: ignore[attr-defined]
    assert bool(second.all())
