"""Attention of tokens to keys and values that lie in parts, against the same in float64."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.kernel import Kernel

from .needs import needs_compiler

pytestmark = needs_compiler


@settings(deadline=None, max_examples=60)
@given(
    widths=st.lists(st.integers(0, 40), min_size=1, max_size=4).filter(any),
    count=st.integers(1, 9),
    heads=st.integers(1, 3),
    size=st.sampled_from((1, 5, 8, 16, 24, 40, 64, 96)),
    masks=st.sampled_from(("none", "one", "each")),
    seed=st.integers(0, 99),
)
def test_it_is_attention(
    kernel: Kernel, widths: list[int], count: int, heads: int, size: int, masks: str, seed: int
) -> None:
    torch.manual_seed(seed)
    queries = torch.randn(count, heads * size)
    parts = [torch.randn(2, heads, width, size) for width in widths]
    rows = {"none": 0, "one": 1, "each": count}[masks]
    mask = torch.randn(rows, sum(widths) if rows else 0)
    if rows and sum(widths) > 1:
        mask[:, seed % sum(widths)] = -torch.inf
    weights = kernel.cached_weights(queries, parts, mask, heads)
    mixed = kernel.cached_mix(weights, parts)
    keys, values = torch.cat(parts, dim=2).double()
    split = queries.double().view(count, heads, size).transpose(0, 1)
    scores = split @ keys.transpose(1, 2) / size**0.5
    expected = (scores + mask.double() if rows else scores).softmax(dim=2)
    torch.testing.assert_close(weights.double(), expected, atol=2e-6, rtol=1e-5)
    means = (expected @ values).transpose(0, 1).flatten(1)
    torch.testing.assert_close(mixed.double(), means, atol=1e-5, rtol=1e-5)
    # A token gets the same bits alone and beside others.
    own = mask[-1:] if rows else mask
    assert torch.equal(kernel.cached_weights(queries[-1:], parts, own, heads), weights[:, -1:])
    assert torch.equal(kernel.cached_mix(weights[:, -1:], parts)[0], mixed[-1])
