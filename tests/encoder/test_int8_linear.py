"""Linear layers of int8 weights: the kernel's and torch's."""

from collections.abc import Iterator

import pytest
import torch

from echostream.encoder import int8_linear
from echostream.encoder.int8_linear import Int8Linear
from echostream.encoder.linear import Linear
from echostream.errors import ConfigError


@pytest.fixture(params=["here", "without the kernel"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.param != "here":
        monkeypatch.setattr(int8_linear, "has_int8_layers", lambda: False)
    with torch.no_grad():
        yield


def test_a_row_is_rounded_with_its_own_scale() -> None:
    """Whatever stands beside it: by its own largest number, and to the same bits."""
    torch.manual_seed(0)
    weight, bias, x = torch.randn(70, 48), torch.randn(70), torch.randn(5, 48)
    x *= 10.0 ** torch.arange(-2, 3)[:, None]
    layer = Int8Linear(weight, bias)
    y = layer(x)
    error = y - (x @ weight.T + bias)
    # Weights of 7 bits or more, inputs of 8: errors of 1/127 and 1/254 of the largest value.
    bound = 48**0.5 * weight.abs().max() * x.abs().amax(dim=1, keepdim=True) / 64
    assert bool((error.abs() < bound).all())
    assert error.std() > 0
    for row in range(5):
        assert torch.equal(layer(x[row : row + 1])[0], y[row])
    zeros = torch.zeros(1, 48)
    torch.testing.assert_close(layer(zeros)[0], bias)


def test_it_has_the_activation_and_the_addend_of_the_layer() -> None:
    torch.manual_seed(0)
    layer, x = Linear(48, 70, gelu_epilogue=True).eval(), torch.randn(2, 3, 48)
    torch.testing.assert_close(Int8Linear.of(layer)(x), layer(x), atol=0.02, rtol=0)
    plain, addend = Linear(48, 70, bias=False).eval(), torch.randn(2, 3, 70)
    found = Int8Linear.of(plain).added_to(addend, x)
    torch.testing.assert_close(found, addend + plain(x), atol=0.02, rtol=0)


def test_it_is_for_inference() -> None:
    layer = Int8Linear(torch.randn(8, 8), None)
    if layer._packed is not None:
        with torch.enable_grad(), pytest.raises(ConfigError, match="for inference"):
            layer(torch.randn(1, 8))
