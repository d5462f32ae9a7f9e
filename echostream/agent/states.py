"""The agent's states as SimulEval sees them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from simuleval.agents.states import AgentStates
from simuleval.data.segments import Segment, SpeechSegment

from echostream.agent.segment_log import SegmentRecord
from echostream.agent.translator import TranslatorState


class EchoStreamStates(AgentStates):  # type: ignore[misc]
    """One stream: the translator's state and the audio that the policy has not taken yet.

    SimulEval's own states keep the whole recording as a Python list, which makes every call cost
    more than the last; these keep only what is unread.

    Args:
        begin: makes the state of stream number ``n``, counted from 0 for each states object;
            ``None`` if there can be no such stream.
    """

    def __init__(self, begin: Callable[[int], TranslatorState | None]) -> None:
        self._begin = begin
        self.stream_number = 0
        self._touched = False
        super().__init__()

    def reset(self) -> None:
        """Begin the next stream; resetting an untouched stream changes nothing."""
        super().reset()
        if self._touched:
            self.stream_number += 1
            self._touched = False
        self.translator_state = self._begin(self.stream_number)
        self.unread: Sequence[Any] = []
        self.segments: list[SegmentRecord] = []

    def update_source(self, segment: Segment) -> None:
        """Take a segment's samples; an empty segment only says whether the source is finished."""
        self._touched = True
        self.source_finished = segment.finished
        if isinstance(segment, SpeechSegment):
            # Usually the policy has taken everything, and the list is passed on as it is.
            content = segment.content
            self.unread = [*self.unread, *content] if len(self.unread) else content
            if len(content):
                self.source_sample_rate = segment.sample_rate
            self.tgt_lang = segment.tgt_lang

    def take_unread(self) -> Sequence[Any]:
        """The samples since the last call."""
        samples, self.unread = self.unread, []
        return samples
