"""Growth is found where it was planted, and not before the warm-up's end."""

from __future__ import annotations

import gc
import itertools
import mmap

import pytest
import torch

from echostream.machine import resident_bytes
from eval.bench.memory import LongStream, Window, long_stream
from tests.encoder.small_encoder import small_encoder

MIB = 2**20


def windows(sizes: list[int], state_bytes: int = 10) -> LongStream:
    """The last one with a state of its own size."""
    states = [10] * (len(sizes) - 1) + [state_bytes]
    return LongStream(
        tuple(Window(60.0, *of, state) for *of, state in zip(sizes, sizes, states, strict=True))
    )


def test_growth_is_counted_from_the_end_of_the_warm_up() -> None:
    assert windows([0, 50 * MIB, *[100 * MIB] * 18]).growth_bytes == 0
    grown = [100 * MIB] * 10 + [103 * MIB] + [101 * MIB] * 9
    assert windows(grown).growth_bytes == 3 * MIB
    assert windows([100 * MIB - k for k in range(20)]).growth_bytes == 0
    assert windows(grown).state_is_constant and not windows(grown, 11).state_is_constant


def test_a_stream_is_stepped_through_and_looked_at_in_windows() -> None:
    encoder = small_encoder(dtype=torch.float32)
    state = encoder.init_state(1, chunk_size=8)
    ticks = itertools.count(0.0, 0.002)
    found = long_stream(encoder, state, 2.3, resident=lambda: 7, clock=lambda: next(ticks))
    # A sixtieth of it is less than a chunk of 160 ms, so each window is one.
    assert [window.audio_s for window in found.windows] == pytest.approx(
        [0.16 * number for number in range(1, 16)]
    )
    assert [window.chunk_ms_p50 for window in found.windows] == pytest.approx([2.0] * 15)
    assert {window.state_bytes for window in found.windows} == {state.nbytes}


def test_the_resident_set_grows_with_what_is_held() -> None:
    gc.collect()
    before = resident_bytes()
    if before == 0:
        pytest.skip("this system does not say how much memory a process has")
    # Pages of its own: what an allocator gives may have been there already.
    with mmap.mmap(-1, 64 * MIB) as held:
        for start in range(0, len(held), mmap.PAGESIZE):
            held[start] = 1
        assert resident_bytes() - before > 48 * MIB
