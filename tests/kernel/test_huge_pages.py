"""Tensors in huge pages are tensors."""

from __future__ import annotations

import gc

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.kernel import HugePages, in_huge_pages

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
