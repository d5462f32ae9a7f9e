"""One stream of a host: its state, its costs, and who watches it.

A session is what a host holds for each stream. It changes in place; everything in it is pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from echostream.audio.samples import Samples
from echostream.session.costs import Costs, sum_costs
from echostream.session.translator import Step, Translator, TranslatorState


@dataclass(frozen=True, eq=False)
class Segment:
    """Audio as a host pushed it."""

    samples: Samples
    sample_rate: int | None
    is_final: bool = False
    """Whether the source ends with it."""


class StreamObserver:
    """Sees one stream from its first audio on. To be derived from; every method may be left out."""

    def recall(
        self, segment: Segment, state: TranslatorState
    ) -> tuple[Step | None, TranslatorState]:
        """Before a segment is heard: its step if that is known, and the state to go on from."""
        return None, state

    def stepped(self, segment: Segment, step: Step, state: TranslatorState) -> None:
        """A segment was heard; ``state`` is the one after it."""

    def refused(self, segment: Segment, error: Exception, state: TranslatorState) -> None:
        """A segment was not heard."""


class Observer(Protocol):
    """Sees all streams of a process, such as a log."""

    def begin(self, recording: int, state: TranslatorState) -> StreamObserver | None:
        """The first audio of a stream is about to be heard; ``None`` if it is not watched."""
        ...


class Session:
    """A stream.

    Args:
        translator: what all streams share.
        recording: its number among the recordings of a run, for logs.
        reference: of a forced stream.
        observers: who watches, in the order in which they are told.
        state: to go on from; without it nothing has been heard.
    """

    def __init__(
        self,
        translator: Translator,
        *,
        recording: int = 0,
        reference: str | None = None,
        observers: Sequence[Observer] = (),
        state: TranslatorState | None = None,
    ) -> None:
        self.translator = translator
        self.recording = recording
        self.state = translator.init_state(reference) if state is None else state
        self.costs: dict[str, float] = {}
        """Of all steps so far, ms by stage."""
        self.last_costs: Costs = {}
        """Of the last step."""
        self._observers = observers
        self._watching: list[StreamObserver] | None = None

    @property
    def finished(self) -> bool:
        """Whether the source has ended."""
        return self.state.finished

    @property
    def is_watched(self) -> bool:
        """Whether anybody wants to see segments."""
        return bool(self._observers)

    def push(self, samples: Samples, sample_rate: int | None, *, is_final: bool = False) -> Step:
        """Hear more audio; see :meth:`Translator.step` for arguments and errors."""
        segment = Segment(samples, sample_rate, is_final)
        step: Step | None = None
        state = self.state
        for observer in self._watch():
            known, state = observer.recall(segment, state)
            step = step or known
        if step is None:
            try:
                step, state = self.translator.step(samples, sample_rate, state, is_final=is_final)
            except Exception as error:
                # A host may go on, so whatever was raised belongs into the logs.
                self.refuse(segment, error)
                raise
        self.stepped(segment, step, state)
        return step

    def finish(self) -> Step:
        """The source has ended: everything that is left is written."""
        return self.push((), None, is_final=True)

    def stepped(self, segment: Segment, step: Step, state: TranslatorState) -> None:
        """Take a step that a host computed by itself, such as one of a batch."""
        self.state = state
        self.last_costs = step.costs
        self.costs = sum_costs(self.costs, step.costs)
        for observer in self._watch():
            observer.stepped(segment, step, state)

    def refuse(self, segment: Segment, error: Exception) -> None:
        """Tell those who watch that a segment was not heard."""
        for observer in self._watch():
            observer.refused(segment, error, self.state)

    def _watch(self) -> list[StreamObserver]:
        if self._watching is None:
            begun: list[Any] = [each.begin(self.recording, self.state) for each in self._observers]
            self._watching = [each for each in begun if each is not None]
        return self._watching
