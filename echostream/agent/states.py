"""The agent's states as SimulEval sees them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from simuleval.agents.states import AgentStates
from simuleval.data.segments import Segment, SpeechSegment

from echostream.agent.segment_log import SegmentRecord
from echostream.agent.translator import TranslatorState
from echostream.audio.samples import as_array
from echostream.errors import AudioFormatError, StreamClosedError


class EchoStreamStates(AgentStates):  # type: ignore[misc]
    """One stream: the translator's state and the audio that the policy has not taken yet.

    SimulEval's own states keep the whole recording as a Python list, which makes every call cost
    more than the last; these keep only what is unread.

    Segments may be pushed by one thread while another one runs the policy; the policy itself runs
    under ``turn``, one call at a time.

    Args:
        begin: makes the state of stream number ``n``, counted from 0 for each states object;
            ``None`` if there can be no such stream.
    """

    def __init__(self, begin: Callable[[int], TranslatorState | None]) -> None:
        self._begin = begin
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
        self.unread: list[Sequence[Any]] = []
        """Segments, as they were pushed."""
        self.segments: list[SegmentRecord] = []
        self.flight_stream: int | None = None
        """Number of this stream in the flight record, once it has begun there."""
        self.num_segments = 0

    def update_source(self, segment: Segment) -> None:
        """Take a segment's samples; an empty segment only says whether the source is finished.

        Raises:
            StreamClosedError: for audio after a segment that said it was the last.
            AudioFormatError: for audio of another sample rate than what is still unread.
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
            if self.unread and len(content) and segment.sample_rate != self.source_sample_rate:
                raise AudioFormatError(
                    f"the sample rate changed from {self.source_sample_rate} to "
                    f"{segment.sample_rate} Hz between two segments; expected one rate for a "
                    "whole stream"
                )
            self._touched = True
            self.source_finished = was_finished or segment.finished
            if isinstance(segment, SpeechSegment):
                if len(content):
                    self.unread.append(content)
                    self.source_sample_rate = segment.sample_rate
                self.tgt_lang = segment.tgt_lang

    def take_unread(self) -> tuple[Sequence[Any], bool]:
        """The samples since the last call, and whether the source ends with them.

        Raises:
            AudioFormatError: if segments of different types or channels were pushed since.
        """
        with self._unread_lock:
            parts, self.unread = self.unread, []
            finished = self.source_finished
        return _joined(parts), finished


def _joined(parts: list[Sequence[Any]]) -> Sequence[Any]:
    """One segment of several; usually there is one, which is passed on as it is."""
    if len(parts) < 2:
        return parts[0] if parts else []
    if all(isinstance(part, list) for part in parts):
        return [sample for part in parts for sample in part]
    # Joined as lists, whole numbers would lose the type that says how they are scaled.
    arrays = [as_array(part) for part in parts]
    kinds = sorted({f"{array.dtype} with {array.ndim} axes" for array in arrays})
    if len(kinds) > 1:
        raise AudioFormatError(
            f"the segments pushed since the last call are of different kinds ({', '.join(kinds)}); "
            "expected one dtype and number of channels for a whole stream"
        )
    joined: Sequence[Any] = np.concatenate(arrays)  # type: ignore[assignment]
    return joined
