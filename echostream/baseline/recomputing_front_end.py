"""The published agent's way with audio: all of it again at every segment.

Symbols: ``f`` feature frames (100 Hz), ``F`` mel bins.

The frames are those of :class:`echostream.audio.FrontEnd`, which is exact for any cuts; only the
cost is the published one, in proportion to the length of the recording so far.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echostream.audio import FrontEnd, FrontEndState
from echostream.audio.samples import Samples


@dataclass(frozen=True, eq=False)
class RecomputingFrontEndState:
    """One stream: everything that has been heard."""

    audio: NDArray[Any] | None = None
    """``[n]`` or ``[n, channels]``, as it was pushed."""
    front_end: FrontEndState = dataclasses.field(default_factory=FrontEndState)
    """Of the last computation."""

    @property
    def sample_rate(self) -> int | None:
        """Hz; ``None`` before the first audio."""
        return self.front_end.sample_rate

    @property
    def samples_heard(self) -> int:
        """At the source rate."""
        return self.front_end.samples_heard


class RecomputingFrontEnd:
    """:class:`FrontEnd` that starts from sample 0 at every step; same methods, frames, errors."""

    def __init__(self, front_end: FrontEnd) -> None:
        self._front_end = front_end

    def init_state(self) -> RecomputingFrontEndState:
        """State of a stream of which nothing has been heard."""
        return RecomputingFrontEndState(front_end=self._front_end.init_state())

    def step(
        self, samples: Samples, sample_rate: int | None, state: RecomputingFrontEndState
    ) -> tuple[NDArray[np.float32], RecomputingFrontEndState]:
        """Compute all features again; the new ones, float32 ``[f, F]``, and the new state."""
        # What is wrong with the new samples is found, and said, before they join the old ones.
        new, after = self._front_end.step(samples, sample_rate, state.front_end)
        heard = np.asarray(samples)
        if state.audio is None or heard.size == 0:
            audio = state.audio if heard.size == 0 else heard
            return new, RecomputingFrontEndState(audio, after)
        audio = np.concatenate((state.audio, heard))
        features, again = self._front_end.step(audio, sample_rate, self._front_end.init_state())
        return features[state.front_end.frames_out :], RecomputingFrontEndState(audio, again)

    def flush(
        self, state: RecomputingFrontEndState
    ) -> tuple[NDArray[np.float32], RecomputingFrontEndState]:
        """The last frames of a stream, and the state closed."""
        features, front_end = self._front_end.flush(state.front_end)
        return features, dataclasses.replace(state, front_end=front_end)
