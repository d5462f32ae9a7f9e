"""Does a long stream stay as fast and as small as it began?

Here the audio is really stepped through, in contrast to the positions of the other tables.
"""

from __future__ import annotations

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
class Window:
    """A stretch of the stream."""

    audio_s: float
    """Heard at its end."""
    resident_bytes: int
    chunk_ms_p50: float
    """Wall time."""
    state_bytes: int


@dataclass(frozen=True)
class LongStream:
    """What a long stream cost."""

    windows: tuple[Window, ...]

    @property
    def kept(self) -> tuple[Window, ...]:
        """After warm-up."""
        return self.windows[int(WARM_UP * len(self.windows)) :]

    @property
    def growth_bytes(self) -> int:
        """How far the resident set ever rose above where it was after warm-up."""
        sizes = [window.resident_bytes for window in self.kept]
        return max(sizes) - sizes[0]

    @property
    def state_is_constant(self) -> bool:
        """Whether the state's size never changed."""
        return len({window.state_bytes for window in self.windows}) == 1


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
    windows: list[Window] = []
    done = 0
    while done * chunk_s < audio_s:
        times = []
        for _ in range(each):
            started = clock()
            _, _, state = encoder.step(chunks[done % _VARIETY], state)
            times.append(1000 * (clock() - started))
            done += 1
        windows.append(Window(done * chunk_s, resident(), statistics.median(times), state.nbytes))
    return LongStream(tuple(windows))
