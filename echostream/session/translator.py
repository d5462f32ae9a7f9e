"""From audio to words to write, for any host: a listener and a writer.

A :class:`Translator` holds what all streams share and never changes; a :class:`TranslatorState`
holds one stream. ``step`` is pure, so a host can keep, copy, or go back to any state.
"""

from dataclasses import dataclass, field
from typing import Any

from echostream.audio.samples import Samples
from echostream.session.costs import Costs, sum_costs
from echostream.session.listener import Listener, ListenerState
from echostream.session.writer import Output, Turn, Writer, WriterState


@dataclass(frozen=True)
class TranslatorState:
    """One stream."""

    listener: ListenerState
    writer: WriterState

    @property
    def finished(self) -> bool:
        """Whether the source has ended."""
        return self.listener.finished


@dataclass(frozen=True)
class Step:
    """What came of one segment."""

    turns: tuple[Turn, ...]
    """One for each chunk that became whole, and one at the end of the source."""
    costs: Costs = field(compare=False)
    """Measured, so never twice the same."""

    @property
    def output(self) -> tuple[Output, ...]:
        """What to write now: text or speech, in order."""
        return tuple(turn.output for turn in self.turns if turn.output.words)

    @property
    def words(self) -> tuple[str, ...]:
        """Words to write now."""
        return tuple(word for turn in self.turns for word in turn.words)


class Translator:
    """What all streams of a model share.

    Args:
        listener: the first half.
        writer: the second half.
        settings: plain values that tell it from any other translator, for saved streams.
    """

    def __init__(
        self, listener: Listener, writer: Writer, settings: dict[str, Any] | None = None
    ) -> None:
        self.listener = listener
        self.writer = writer
        self.settings = settings

    def init_state(self, reference: str | None = None) -> TranslatorState:
        """A stream of which nothing has been heard; with ``reference`` a forced one."""
        return TranslatorState(self.listener.init_state(), self.writer.init_state(reference))

    def counters(self, state: TranslatorState) -> dict[str, int]:
        """Everything that is counted in a stream."""
        front_end = state.listener.front_end
        # A front end that starts over keeps another one inside.
        checked = getattr(front_end, "front_end", front_end)
        return {
            "samples_heard": front_end.samples_heard,
            "clipped": checked.clipped,
            "nonfinite": checked.nonfinite,
            **self.writer.counters(state.writer),
        }

    def step(
        self, samples: Samples, sample_rate: int | None, state: TranslatorState, *, is_final: bool
    ) -> tuple[Step, TranslatorState]:
        """Hear more audio; a final step writes everything that is left.

        Args:
            samples: any number of samples, in any form the front end takes.
            sample_rate: of the samples, Hz; not looked at when there are none.
            state: of this stream.
            is_final: whether the source ends with these samples.

        Raises:
            StreamClosedError: if the stream has ended before; to end it once more without new
                audio does nothing.
            AudioFormatError: for audio that cannot be used; the state stays good.
        """
        if state.finished and is_final and len(samples) == 0:
            return Step((), {}), state
        encoded, listener = self.listener.step(
            samples, sample_rate, state.listener, is_final=is_final
        )
        turns, costs, writer = self.writer.step(encoded.chunks, state.writer, is_final=is_final)
        return Step(turns, sum_costs(encoded.costs, costs)), TranslatorState(listener, writer)
