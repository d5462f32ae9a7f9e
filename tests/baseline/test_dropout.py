"""Dropout with cheap masks does what PyTorch's does."""

from __future__ import annotations

import math

import pytest
import torch

from echostream.baseline.attention import Dropout


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_rate_and_scale(rate: float) -> None:
    torch.manual_seed(1)
    # Not a multiple of four, since four numbers come from one draw.
    x = torch.ones(3, 333, 101)
    y = Dropout(rate).train()(x)
    dropped = float((y == 0).float().mean())
    assert dropped == pytest.approx(rate, abs=5 * math.sqrt(rate * (1 - rate) / x.numel()))
    kept = y[y != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - rate)), rtol=1e-3, atol=0.0)


def test_neighbours_are_dropped_independently() -> None:
    torch.manual_seed(1)
    dropped = (Dropout(0.5).train()(torch.ones(400_000)) == 0).float() - 0.5
    for lag in (1, 2, 3, 4):
        assert abs(float((dropped[lag:] * dropped[:-lag]).mean())) < 5 * 0.25 / math.sqrt(400_000)


def test_gradient_is_the_mask() -> None:
    x = torch.randn(50, 7, requires_grad=True)
    y = Dropout(0.3).train()(x)
    y.sum().backward()
    torch.testing.assert_close(y, x * x.grad)


def test_evaluation_and_extremes() -> None:
    x = torch.randn(20)
    assert torch.equal(Dropout(0.4).eval()(x), x)
    assert torch.equal(Dropout(0.0).train()(x), x)
    assert torch.equal(Dropout(1.0).train()(x), torch.zeros(20))


def test_the_seed_decides() -> None:
    x = torch.ones(100)
    module = Dropout(0.5).train()
    first, other = (module(x) for _ in range(2) if torch.manual_seed(3) is not None)
    assert torch.equal(first, other) and not torch.equal(first, module(x))
