"""The second half of a step: generator and policy, from encoded chunks to words to write.

The generator observes each chunk, then the policy is asked, in the order of the audio. How the
audio was cut into segments therefore changes when words come out, and nothing else.

Symbols: ``n`` encoder frames of a chunk, ``C`` encoder channels.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echostream.decoder.candidates import Candidates
from echostream.decoder.generator import EncodedChunk, Generator
from echostream.decoder.words import Word
from echostream.policy import Decision, Policy, PolicyContext, needs_encoder_history
from echostream.session.costs import DEFAULT_CLOCK, Clock, Costs, Stopwatch


@dataclass(frozen=True)
class Text:
    """Whole words."""

    words: tuple[str, ...] = ()
    separator: str = " "
    """Between words; nothing in languages that write none."""

    def __str__(self) -> str:
        return self.separator.join(self.words)


@dataclass(frozen=True, eq=False)
class Speech:
    """Samples to play, and the words that they say."""

    samples: NDArray[np.float32]
    """``[n]`` in [-1, 1]."""
    sample_rate: int
    """Hz."""
    words: tuple[str, ...] = ()


Output = Text | Speech


@dataclass(frozen=True)
class WriterState:
    """One stream."""

    generator: Any
    """What the generator carries."""
    policy: Any = None
    """What the policy wants to remember."""
    reference: tuple[str, ...] | None = None
    """Forced writer: reference words that are not written yet; ``None`` when decoding."""
    history: Tensor | None = None
    """Encoder frames so far, only for a policy that asks for them."""
    num_chunks: int = 0
    num_frames: int = 0
    num_written: int = 0


@dataclass(frozen=True)
class Turn:
    """One question to the policy and what came of it."""

    num_chunks: int
    """Whole chunks heard."""
    audio_ms: int
    """Audio encoded, ms."""
    reason: str
    output: Output
    """Without words it is READ."""
    times_ms: tuple[int, ...] = ()
    """Of each word the audio, ms, by whose end it was known to be complete, or which a decoder with
    attention looked at."""

    @property
    def words(self) -> tuple[str, ...]:
        """Words written."""
        return self.output.words


class Writer:
    """Generator and policy; holds no stream.

    Args:
        policy: decides when to write.
        generator: says what could be written.
        frame_ms: length of an encoder frame.
        frame_dim: channels of an encoder frame.
        separator: between written words.
        clock: measures the stages.
    """

    def __init__(
        self,
        policy: Policy,
        generator: Generator[Any],
        *,
        frame_ms: int,
        frame_dim: int,
        separator: str = " ",
        clock: Clock = DEFAULT_CLOCK,
    ) -> None:
        self.policy = policy
        self.generator = generator
        self.clock = clock
        self._frame_ms = frame_ms
        self.separator = separator
        self._no_frames = torch.zeros(0, frame_dim, dtype=torch.float32)
        self._keeps_history = needs_encoder_history(policy)
        # Where words are made as the policy looks at them, most of the time goes to that.
        self._deciding = "decoder" if getattr(generator, "on_demand", False) else "policy"

    def init_state(self, reference: str | None = None) -> WriterState:
        """A stream of which nothing has been heard; with ``reference`` a forced one."""
        words = None if reference is None else tuple(reference.split())
        return WriterState(self.generator.init_state(), reference=words)

    def counters(self, state: WriterState) -> dict[str, int]:
        """Everything that is counted in a stream."""
        return {
            "chunks": state.num_chunks,
            "encoder_frames": state.num_frames,
            "words_written": state.num_written,
            **self.generator.counters(state.generator),
        }

    def at_hand(self, state: WriterState) -> tuple[str, ...]:
        """Words behind those that were written, as far as the generator has them without further
        work; what comes next may change them, and the last may be half a word."""
        if state.reference is not None:
            return ()
        look = getattr(self.generator, "at_hand", None)
        return () if look is None else look(state.generator)

    def step(
        self, chunks: Sequence[EncodedChunk], state: WriterState, *, is_final: bool
    ) -> tuple[tuple[Turn, ...], Costs, WriterState]:
        """Take more chunks; the last turn of a final step writes everything that is left."""
        turns: list[Turn] = []
        watch = Stopwatch(self.clock)
        for chunk in chunks:
            state = self._observe(chunk, state)
            watch.lap("decoder")
            if chunk.is_whole:
                turn, state = self._decide(chunk.frames, state, source_finished=False)
                turns.append(turn)
            watch.lap(self._deciding)
        if is_final:
            finished = self.generator.finish(state.generator)
            state = dataclasses.replace(state, generator=finished)
            watch.lap("decoder")
            turn, state = self._decide(self._no_frames, state, source_finished=True)
            turns.append(turn)
            watch.lap(self._deciding)
        return tuple(turns), watch.costs, state

    def _observe(self, chunk: EncodedChunk, state: WriterState) -> WriterState:
        history = state.history
        if self._keeps_history:
            frames = chunk.frames
            history = frames if history is None else torch.cat((history, frames))
        return dataclasses.replace(
            state,
            generator=self.generator.observe(chunk, state.generator),
            history=history,
            num_chunks=state.num_chunks + chunk.is_whole,
            num_frames=state.num_frames + len(chunk.frames),
        )

    def _decide(
        self, frames: Tensor, state: WriterState, *, source_finished: bool
    ) -> tuple[Turn, WriterState]:
        """Ask the policy once and write what it says; ``frames`` [n, C] are the newest chunk's."""
        own, generator = self.generator.candidates(state.generator)
        candidates = own if state.reference is None else _forced(state)
        counters = self.generator.counters(generator)
        decision: Decision = self.policy.decide(
            PolicyContext(
                encoder_frames=frames if state.history is None else state.history,
                num_encoder_frames=state.num_frames,
                num_chunks=state.num_chunks,
                audio_ms=state.num_frames * self._frame_ms,
                source_finished=source_finished,
                source_tokens=counters["source_tokens"],
                target_tokens=counters["target_tokens"],
                candidates=candidates,
                num_written=state.num_written,
                state=state.policy,
            )
        )
        count = len(candidates) if source_finished else decision.write
        if state.reference is None:
            words, generator = self.generator.commit(count, generator)
        else:
            words = tuple(candidates)[:count]
            # The generator's own words are never written and must not pile up.
            _, generator = self.generator.commit(len(own.stable), generator)
            state = dataclasses.replace(state, reference=state.reference[count:])
        state = dataclasses.replace(
            state,
            generator=generator,
            policy=decision.state,
            num_written=state.num_written + len(words),
        )
        turn = Turn(
            num_chunks=state.num_chunks,
            audio_ms=state.num_frames * self._frame_ms,
            reason=decision.reason,
            output=Text(tuple(word.text for word in words), self.separator),
            times_ms=tuple(
                min(word.frame + 1, state.num_frames) * self._frame_ms for word in words
            ),
        )
        return turn, state


def _forced(state: WriterState) -> Candidates:
    """The rest of the reference, one token a word."""
    first = state.num_written + 1
    return Candidates(
        tuple(
            Word(text, number, state.num_frames)
            for number, text in enumerate(state.reference or (), start=first)
        )
    )
