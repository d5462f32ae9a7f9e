"""The agent's states as SimulEval sees them.

Symbols: ``n`` samples of a segment.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray
from simuleval.agents.states import AgentStates

from echostream.audio import check_segment
from echostream.audio.samples import NanPolicy, as_array, join_segments
from echostream.errors import AudioFormatError, StreamClosedError
from echostream.session.session import Segment, Session


class EchoStreamStates(AgentStates):  # type: ignore[misc]
    """One stream: its session and the audio that the policy has not taken yet.

    SimulEval's own states keep the whole recording as a Python list, which makes every call cost
    more than the last; these keep only what is unread.

    Segments may be pushed by one thread while another one runs the policy; the policy itself runs
    under ``turn``, one call at a time.

    Args:
        begin: makes the session of the states' next stream; ``None`` if there can be none.
        nan_policy: of the model's front end.
        check_target: raises for a target language that is not the model's.
    """

    def __init__(
        self,
        begin: Callable[[EchoStreamStates], Session | None],
        nan_policy: NanPolicy = "error",
        check_target: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        self._check_target = check_target
        self._begin = begin
        self._nan_policy = nan_policy
        self.stream_number = 0
        """Counted from 0 for each states object."""
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
        self.session = self._begin(self)
        self.unread: list[NDArray[Any]] = []
        """Segments ``[n]`` or ``[n, 2]``, of the types they were pushed as."""
        self.refused: list[tuple[Segment, Exception]] = []
        """Behind what is unread; for the flight record, which tells things in their order."""

    def update_source(self, segment: Any) -> None:
        """Take a segment's samples; an empty segment only says whether the source is finished.

        A segment is whatever has ``content``, ``sample_rate`` and ``finished``: hosts have classes
        of their own. Audio after a stream that has been answered to its end begins the next one.

        What is wrong with audio is said here, before it joins what waits to be heard: a segment
        that is refused is as if it had not been pushed, and the one before it is still heard.

        Raises:
            StreamClosedError: for audio after a segment that said it was the last, before the
                policy was asked for the end.
            AudioFormatError: for audio that cannot be used.
            ConfigError: for another target language.
        """
        content = _content(segment)
        # SimulEval's own default is no string but a type.
        wanted = getattr(segment, "tgt_lang", None)
        wanted = wanted if isinstance(wanted, str) else None
        self._check_target(wanted)
        if len(content) and self.session is not None and self.session.finished:
            self.reset()
        with self._unread_lock:
            was_finished: bool = self.source_finished
            if was_finished and len(content):
                # SimulEval would not even ask the policy, and the audio would be lost in silence.
                raise StreamClosedError(
                    f"a segment of {len(content)} samples arrived after the last one of its "
                    "stream; expected none: ask policy() for the end, or reset the agent"
                )
            samples = self._checked(content, segment.sample_rate) if len(content) else None
            self._touched = True
            self.source_finished = was_finished or bool(segment.finished)
            if samples is not None:
                self.unread.append(samples)
                self.source_sample_rate = segment.sample_rate
            self.tgt_lang = wanted

    def take_unread(self) -> tuple[NDArray[Any], bool]:
        """The samples since the last call, and whether the source ends with them."""
        with self._unread_lock:
            parts, self.unread = self.unread, []
            finished = self.source_finished
        return join_segments(parts), finished

    def _checked(self, content: Any, sample_rate: int | None) -> NDArray[Any]:
        """A segment's samples as an array, if the front end will take them."""
        samples = as_array(content)
        state = None if self.session is None else self.session.state
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


def _content(segment: Any) -> Any:
    """The samples of a segment of any class; none of an empty one.

    Raises:
        AudioFormatError: if it is no segment of speech.
    """
    content = getattr(segment, "content", None)
    if getattr(segment, "is_empty", False) or content is None or len(content) == 0:
        if hasattr(segment, "finished"):
            return ()
    elif not isinstance(content, str) and hasattr(segment, "sample_rate"):
        return content
    raise AudioFormatError(
        f"a {type(segment).__name__} was pushed; expected a segment of speech, with the samples in "
        "content, their sample_rate, and finished"
    )
