"""The agent's states as SimulEval sees them.

Symbols: ``n`` samples of a segment.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from simuleval.agents.states import AgentStates
from simuleval.data.segments import Segment, SpeechSegment

from echostream.audio import check_segment
from echostream.audio.samples import NanPolicy, as_array, to_float32
from echostream.errors import StreamClosedError
from echostream.session.segment_log import SegmentRecord
from echostream.session.translator import TranslatorState


@dataclass(frozen=True, eq=False)
class RefusedSegment:
    """A segment that was not taken."""

    samples: Any
    """As it was pushed."""
    sample_rate: Any
    is_final: bool
    error: Exception


class EchoStreamStates(AgentStates):  # type: ignore[misc]
    """One stream: the translator's state and the audio that the policy has not taken yet.

    SimulEval's own states keep the whole recording as a Python list, which makes every call cost
    more than the last; these keep only what is unread.

    Segments may be pushed by one thread while another one runs the policy; the policy itself runs
    under ``turn``, one call at a time.

    Args:
        begin: makes the state of stream number ``n``, counted from 0 for each states object;
            ``None`` if there can be no such stream.
        nan_policy: of the model's front end.
    """

    def __init__(
        self, begin: Callable[[int], TranslatorState | None], nan_policy: NanPolicy = "error"
    ) -> None:
        self._begin = begin
        self._nan_policy = nan_policy
        self.stream_number = 0
        self._touched = False
        self.turn = threading.Lock()
        self._unread_lock = threading.Lock()
        super().__init__()

    def reset(self) -> None:
        """Begin the next stream; resetting an untouched stream changes nothing."""
        super().reset()
        self.source_finished: bool = False
        self.source_sample_rate: int | None = 0
        if self._touched:
            self.stream_number += 1
            self._touched = False
        self.translator_state = self._begin(self.stream_number)
        self.unread: list[NDArray[Any]] = []
        """Segments ``[n]`` or ``[n, 2]``, of the types they were pushed as."""
        self.segments: list[SegmentRecord] = []
        self.flight_stream: int | None = None
        """Number of this stream in the flight record, once it has begun there."""
        self.num_segments = 0
        self.refused: list[RefusedSegment] = []
        """Behind what is unread; for the flight record, which tells things in their order."""

    def update_source(self, segment: Segment) -> None:
        """Take a segment's samples; an empty segment only says whether the source is finished.

        What is wrong with audio is said here, before it joins what waits to be heard: a segment
        that is refused is as if it had not been pushed, and the one before it is still heard.

        Raises:
            StreamClosedError: for audio after a segment that said it was the last.
            AudioFormatError: for audio that cannot be used.
        """
        with self._unread_lock:
            content = segment.content if isinstance(segment, SpeechSegment) else ()
            was_finished: bool = self.source_finished
            if was_finished and len(content):
                # SimulEval would not even ask the policy, and the audio would be lost in silence.
                raise StreamClosedError(
                    f"a segment of {len(content)} samples arrived after the last one of its "
                    "stream; expected none: reset the agent to begin a new stream"
                )
            samples = self._checked(content, segment.sample_rate) if len(content) else None
            self._touched = True
            self.source_finished = was_finished or segment.finished
            if isinstance(segment, SpeechSegment):
                if samples is not None:
                    self.unread.append(samples)
                    self.source_sample_rate = segment.sample_rate
                self.tgt_lang = segment.tgt_lang

    def take_unread(self) -> tuple[NDArray[Any], bool]:
        """The samples since the last call, and whether the source ends with them."""
        with self._unread_lock:
            parts, self.unread = self.unread, []
            finished = self.source_finished
        return _joined(parts), finished

    def _checked(self, content: Any, sample_rate: int | None) -> NDArray[Any]:
        """A segment's samples as an array, if the front end will take them."""
        samples = as_array(content)
        state = self.translator_state
        rate, heard = None, 0
        if state is not None:
            rate = state.listener.front_end.sample_rate
            heard = state.listener.front_end.samples_heard
        check_segment(
            samples,
            sample_rate,
            nan_policy=self._nan_policy,
            # What another thread is just hearing is in neither place, but its rate is known here.
            stream_rate=self.source_sample_rate or rate,
            position=heard + sum(map(len, self.unread)),
        )
        return samples


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """One segment of several; usually there is one, which is passed on as it is."""
    if len(parts) < 2:
        return parts[0] if parts else np.zeros(0, np.float32)
    if len({(part.dtype, part.ndim) for part in parts}) > 1:
        # Whole numbers beside floats would lose the type that says how they are scaled.
        parts = [to_float32(part) for part in parts]
    if len({part.ndim for part in parts}) > 1:
        parts = [np.stack((part, part), axis=1) if part.ndim == 1 else part for part in parts]
    return np.concatenate(parts)
