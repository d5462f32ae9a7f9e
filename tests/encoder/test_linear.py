"""Linear layers with weights in order are linear layers, whatever happens to their weights."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from echostream.encoder import linear
from echostream.encoder.linear import Linear, scaled_linear
from tests.kernel.needs import needs_compiler

INPUTS, OUTPUTS = 512, 384

KERNEL, ONEDNN, USUAL = "kernel", "oneDNN", "usual"


@pytest.fixture(
    params=[
        pytest.param(KERNEL, marks=needs_compiler),
        pytest.param(
            ONEDNN,
            marks=pytest.mark.skipif(not Linear.has_packed_product, reason="without oneDNN"),
        ),
        USUAL,
    ],
    autouse=True,
)
def product(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a layer is computed by, in turn."""
    if request.param != KERNEL:
        monkeypatch.setattr(linear, "shared_kernel", lambda: None)
    if request.param == USUAL:
        monkeypatch.setattr(Linear, "has_packed_product", False)
    return str(request.param)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each time that weights were put in order."""
    found: list[str] = []
    for_kernel, for_onednn = Linear._packed_for_kernel, Linear._packed_for_onednn

    def counted_for_kernel(self: Linear) -> Tensor:
        found.append(KERNEL)
        return for_kernel(self)

    def counted_for_onednn(self: Linear) -> Tensor:
        found.append(ONEDNN)
        return for_onednn(self)

    monkeypatch.setattr(Linear, "_packed_for_kernel", counted_for_kernel)
    monkeypatch.setattr(Linear, "_packed_for_onednn", counted_for_onednn)
    return found


@pytest.fixture
def layer() -> Linear:
    torch.manual_seed(1)
    return Linear(INPUTS, OUTPUTS).eval()


def expected(layer: nn.Linear, x: Tensor) -> Tensor:
    """In float64, by another product."""
    bias = 0.0 if layer.bias is None else layer.bias.double()
    return torch.einsum("...i,oi->...o", x.double(), layer.weight.double()) + bias


@pytest.mark.parametrize("shape", [(1,), (16,), (1, 1), (1, 16), (3, 2, 7), (1, 300)])
@pytest.mark.parametrize("bias", [True, False])
def test_equals_the_product(
    shape: tuple[int, ...], bias: bool, calls: list[str], product: str
) -> None:
    torch.manual_seed(2)
    layer = Linear(INPUTS, OUTPUTS, bias).eval()
    x = torch.randn(*shape, INPUTS)
    with torch.no_grad():
        y, again = layer(x), layer(x)
    assert y.shape == (*shape, OUTPUTS)
    torch.testing.assert_close(y.double(), expected(layer, x), atol=1e-5, rtol=1e-5)
    assert torch.equal(y, again)
    assert calls == ([] if product == USUAL else [product])


def test_swoosh_follows_where_it_is_wanted() -> None:
    torch.manual_seed(2)
    layer = Linear(INPUTS, OUTPUTS, swoosh_epilogue=True).eval()
    x = torch.randn(7, INPUTS)
    plain = expected(layer, x)
    swooshed = torch.logaddexp(torch.zeros_like(plain), plain - 4) - 0.08 * plain - 0.035
    with torch.no_grad():
        torch.testing.assert_close(layer(x).double(), swooshed, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(layer(x).double(), swooshed, atol=1e-5, rtol=1e-5)


def test_gradients_go_through(layer: Linear, calls: list[str]) -> None:
    x = torch.randn(4, INPUTS, requires_grad=True)
    layer(x).sum().backward()
    assert layer.weight.grad is not None and x.grad is not None
    torch.testing.assert_close(x.grad[0], layer.weight.sum(dim=0))
    assert calls == []


@torch.no_grad()
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies_have_their_own_weights(layer: Linear, copied: Callable[[Linear], Linear]) -> None:
    x = torch.randn(4, INPUTS)
    before = layer(x)
    other = copied(layer)
    other.weight.zero_()
    assert torch.equal(layer(x), before)
    torch.testing.assert_close(other(x), layer.bias.expand(4, -1))


@torch.no_grad()
def test_what_is_watched_or_recorded_is_the_usual_layer(layer: Linear, calls: list[str]) -> None:
    x = torch.randn(4, INPUTS)
    with FlopCounterMode(display=False) as counter:
        layer(x)
    assert counter.get_total_flops() == 2 * 4 * INPUTS * OUTPUTS
    graph = torch.jit.trace(layer, (x,), check_trace=False).inlined_graph
    assert "aten::linear" in str(graph)
    exported = torch.export.export(layer, (x,))
    assert "aten.linear" in str(exported.graph)
    assert calls == []


@torch.no_grad()
def test_other_numbers_and_no_frames(layer: Linear, calls: list[str], product: str) -> None:
    assert layer(torch.randn(0, INPUTS)).shape == (0, OUTPUTS)
    assert layer.double()(torch.randn(2, INPUTS, dtype=torch.float64)).dtype == torch.float64
    assert ONEDNN not in calls
    calls.clear()
    small = Linear(8, 4)
    x = torch.randn(3, 8)
    torch.testing.assert_close(small(x), functional.linear(x, small.weight, small.bias))
    assert calls == ([KERNEL] if product == KERNEL else [])


@torch.no_grad()
def test_a_scaled_layer_starts_small_and_without_bias() -> None:
    torch.manual_seed(3)
    scaled = scaled_linear(INPUTS, OUTPUTS, 0.25)
    torch.manual_seed(3)
    torch.testing.assert_close(scaled.weight, 0.25 * Linear(INPUTS, OUTPUTS).weight)
    assert not scaled.bias.any()
