"""Growth is found where it was planted, and not before the warm-up's end."""

from __future__ import annotations

import gc
import itertools
import mmap

import pytest
import torch

from echostream.machine import resident_bytes
from eval.bench.memory import long_stream
from tests.encoder.small_encoder import small_encoder

MIB = 2**20


@pytest.mark.parametrize(
    ("held", "growth"),
    [
        # The first tenth of 20 windows is warm-up.
        ([0, 50, *[100] * 18], 0),
        ([*[100] * 10, 103, *[101] * 9], 3),
        ([100 - k for k in range(20)], 0),
    ],
)
def test_a_stream_is_stepped_through_and_looked_at(held: list[int], growth: int) -> None:
    encoder = small_encoder(dtype=torch.float32)
    state = encoder.init_state(1, chunk_size=8)
    ticks, memory = itertools.count(0.0, 0.002), iter(held)
    # A sixtieth of it is less than a chunk of 160 ms, so each window is one.
    found = long_stream(
        encoder, state, 3.1, resident=lambda: next(memory), clock=lambda: next(ticks)
    )
    assert found.audio_s == pytest.approx(3.2)
    assert found.growth_bytes == growth
    assert found.state_bytes == (state.nbytes,)
    assert found.chunk_ms == pytest.approx((2.0, 2.0))


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
