"""Growth is found where it was planted, and not before the warm-up's end."""

from __future__ import annotations

import gc
import itertools
import mmap
from collections.abc import Iterator

import pytest
import torch

from echostream.machine import resident_bytes
from eval.bench.memory import LongStream, Window, long_stream
from tests.encoder.small_encoder import small_encoder

MIB = 2**20


def windows(sizes: list[int], state_bytes: list[int] | None = None) -> LongStream:
    states = state_bytes or [10] * len(sizes)
    return LongStream(
        tuple(
            Window(60.0 * (k + 1), size, 5.0, state)
            for k, (size, state) in enumerate(zip(sizes, states, strict=True))
        )
    )


def test_growth_is_counted_from_the_end_of_the_warm_up() -> None:
    assert windows([0, 50 * MIB, *[100 * MIB] * 18]).growth_bytes == 0
    grown = [100 * MIB] * 10 + [103 * MIB] + [101 * MIB] * 9
    assert windows(grown).growth_bytes == 3 * MIB
    assert windows([100 * MIB - k for k in range(20)]).growth_bytes == 0


def test_a_state_that_changes_its_size_is_seen() -> None:
    assert windows([1, 1, 1]).state_is_constant
    assert not windows([1, 1, 1], [10, 10, 11]).state_is_constant


def test_a_stream_is_stepped_through_and_looked_at_in_windows() -> None:
    encoder = small_encoder(dtype=torch.float32)
    state = encoder.init_state(1, chunk_size=8)
    ticks: Iterator[float] = itertools.count(0.0, 0.002)
    seen: list[float] = []
    found = long_stream(
        encoder,
        state,
        2.0,
        window_s=0.4,
        resident=lambda: 7,
        clock=lambda: next(ticks),
        progress=seen.append,
    )
    assert seen == pytest.approx([0.32, 0.64, 0.96, 1.28, 1.6, 1.92, 2.24])
    assert [window.audio_s for window in found.windows] == pytest.approx(seen)
    assert [window.chunk_ms_p50 for window in found.windows] == pytest.approx([2.0] * 7)
    assert {window.state_bytes for window in found.windows} == {state.nbytes}
    assert found.growth_bytes == 0


def test_the_resident_set_grows_with_what_is_held() -> None:
    gc.collect()
    before = resident_bytes()
    if before == 0:
        pytest.skip("this system does not say how much memory a process has")
    # Pages of its own: what an allocator gives may have been there already.
    with mmap.mmap(-1, 512 * MIB) as held:
        for start in range(0, len(held), mmap.PAGESIZE):
            held[start] = 1
        assert resident_bytes() - before > 384 * MIB
