"""Does a long stream stay as fast and as small as it began?

Here the audio is really stepped through, in contrast to the positions of the other tables.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from echostream.backend.compiled_encoder import CompiledEncoder
from echostream.constants import FRAME_SHIFT_MS
from echostream.encoder import StreamState, ZipformerEncoder
from echostream.machine import resident_bytes

WARM_UP = 0.1
"""Part of the audio, at its start, that the growth leaves out: libraries load, caches fill."""

_WINDOWS = 60
_VARIETY = 16
"""Different chunks of features; more would be memory of the benchmark's own."""


@dataclass(frozen=True)
class LongStream:
    """What a long stream cost."""

    audio_s: float
    resident_bytes: int
    """After warm-up."""
    growth_bytes: int
    """How far the resident set ever rose above that."""
    state_bytes: tuple[int, ...]
    """Sizes that the state had; one if it is constant."""
    chunk_ms: tuple[float, float]
    """Median wall time of a chunk after warm-up and at the end."""


def long_stream(
    encoder: ZipformerEncoder | CompiledEncoder,
    state: StreamState,
    audio_s: float,
    *,
    resident: Callable[[], int] = resident_bytes,
    clock: Callable[[], float] = time.perf_counter,
) -> LongStream:
    """Push random features, at least ``audio_s`` of them, as fast as they are encoded.

    ``encoder`` is any backend, ``state`` a stream that has heard nothing; ``resident`` tells the
    bytes in use, ``clock`` seconds.
    """
    frames = state.pending.shape[1]
    chunks = torch.randn(_VARIETY, 1, frames, state.pending.shape[2])
    chunk_s = frames * FRAME_SHIFT_MS / 1000
    each = max(1, round(audio_s / _WINDOWS / chunk_s))
    held, states, medians = [], [], []
    done = 0
    while done * chunk_s < audio_s:
        times = []
        for _ in range(each):
            started = clock()
            _, _, state = encoder.step(chunks[done % _VARIETY], state)
            times.append(1000 * (clock() - started))
            done += 1
        held.append(resident())
        states.append(state.nbytes)
        medians.append(statistics.median(times))
    first = int(WARM_UP * len(held))
    return LongStream(
        audio_s=done * chunk_s,
        resident_bytes=held[first],
        growth_bytes=max(held[first:]) - held[first],
        state_bytes=tuple(dict.fromkeys(states)),
        chunk_ms=(medians[first], medians[-1]),
    )
