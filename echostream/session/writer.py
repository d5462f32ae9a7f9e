"""The second half of the agent: CTC search and policy, from encoded chunks to words to write.

Each chunk is decoded, then the policy is asked, in the order of the audio. How the audio was cut
into segments therefore changes when words come out, and nothing else.
"""

from __future__ import annotations

import dataclasses
import itertools
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from echostream.decoder import Decoder, WordAssembler
from echostream.decoder.ctc.hypothesis import Hypothesis, HypothesisState, without_written
from echostream.policy import Decision, Policy, PolicyContext, needs_encoder_history
from echostream.session.costs import DEFAULT_CLOCK, Clock, StageCosts
from echostream.session.listener import EncodedChunk
from echostream.session.word_values import WordValues


@dataclass(frozen=True)
class WriterState:
    """One stream."""

    source: HypothesisState
    """Of the ASR head."""
    target: HypothesisState
    """Of the ST head; for task ``asr`` of the ASR head."""
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
    words: tuple[str, ...]
    """Words written; none is READ."""


class Writer:
    """Decoders and policy; holds no stream.

    Args:
        policy: decides when to write.
        decoders: CTC search for the ASR head and for the ST head.
        assembler: makes words of the output head's tokens; may be ``None`` for a forced writer.
        task: ``s2tt`` or ``asr``.
        frame_ms: length of an encoder frame.
        frame_dim: channels of an encoder frame.
        clock: measures the stages.
    """

    def __init__(
        self,
        policy: Policy,
        decoders: tuple[Decoder[Any], Decoder[Any]],
        assembler: WordAssembler | None,
        *,
        task: str,
        frame_ms: int,
        frame_dim: int,
        clock: Clock = DEFAULT_CLOCK,
    ) -> None:
        translating = task == "s2tt"
        self.policy = policy
        self.clock = clock
        self._frame_ms = frame_ms
        self._no_frames = torch.zeros(0, frame_dim)
        self._source = Hypothesis(decoders[0], None if translating else assembler)
        self._target = Hypothesis(decoders[1], assembler) if translating else None
        self._keeps_history = needs_encoder_history(policy)

    def init_state(self, reference: str | None = None) -> WriterState:
        """A stream of which nothing has been heard; with ``reference`` a forced one."""
        source = self._source.init_state()
        return WriterState(
            source=source,
            target=source if self._target is None else self._target.init_state(),
            reference=None if reference is None else tuple(reference.split()),
        )

    def step(
        self, chunks: Sequence[EncodedChunk], state: WriterState, *, is_final: bool
    ) -> tuple[tuple[Turn, ...], StageCosts, WriterState]:
        """Take more chunks; the last turn of a final step writes everything that is left."""
        turns: list[Turn] = []
        decoding = deciding = 0.0
        for chunk in chunks:
            started = self.clock()
            state = self._decode(chunk, state)
            decoded = self.clock()
            if chunk.is_whole:
                turn, state = self._decide(chunk.frames, state, source_finished=False)
                turns.append(turn)
            decoding += decoded - started
            deciding += self.clock() - decoded
        if is_final:
            started = self.clock()
            target = self._target or self._source
            flushed = target.flush(state.target, state.num_frames)
            state = dataclasses.replace(state, target=flushed)
            decoded = self.clock()
            turn, state = self._decide(self._no_frames, state, source_finished=True)
            turns.append(turn)
            decoding += decoded - started
            deciding += self.clock() - decoded
        costs = StageCosts(decoder_ms=1000 * decoding, policy_ms=1000 * deciding)
        return tuple(turns), costs, state

    def _decode(self, chunk: EncodedChunk, state: WriterState) -> WriterState:
        """Take one chunk into the hypotheses."""
        source = self._source.step(chunk.source_log_probs, state.source)
        target = source
        if self._target is not None and chunk.target_log_probs is not None:
            target = self._target.step(chunk.target_log_probs, state.target)
        history = state.history
        if self._keeps_history:
            frames = chunk.frames
            history = frames if history is None else torch.cat((history, frames))
        return dataclasses.replace(
            state,
            source=source,
            target=target,
            history=history,
            num_chunks=state.num_chunks + chunk.is_whole,
            num_frames=state.num_frames + len(chunk.frames),
        )

    def _decide(
        self, frames: Tensor, state: WriterState, *, source_finished: bool
    ) -> tuple[Turn, WriterState]:
        """Ask the policy once and write what it says; ``frames`` [n, C] are the newest chunk's."""
        words, tentative, token_ends = _pending(state)
        decision: Decision = self.policy.decide(
            PolicyContext(
                encoder_frames=frames if state.history is None else state.history,
                num_encoder_frames=state.num_frames,
                num_chunks=state.num_chunks,
                audio_ms=state.num_frames * self._frame_ms,
                source_finished=source_finished,
                source_tokens=state.source.num_tokens,
                target_tokens=state.target.num_tokens,
                words=words,
                tentative_words=tentative,
                token_ends=token_ends,
                num_written=state.num_written,
                state=state.policy,
            )
        )
        num_pending = len(words) + len(tentative)
        count = num_pending if source_finished else min(decision.write, num_pending)
        written = tuple(itertools.islice(itertools.chain(words, tentative), count))
        passed = count
        if state.reference is not None:
            state = dataclasses.replace(state, reference=state.reference[count:])
            # The search's own words are never written and must not pile up.
            passed = len(state.target.words)
        target = without_written(state.target, passed)
        source = target if self._target is None else state.source
        state = dataclasses.replace(state, source=source, target=target)
        state = dataclasses.replace(
            state, policy=decision.state, num_written=state.num_written + count
        )
        turn = Turn(
            num_chunks=state.num_chunks,
            audio_ms=state.num_frames * self._frame_ms,
            reason=decision.reason,
            words=written,
        )
        return turn, state


def _pending(state: WriterState) -> tuple[Sequence[str], Sequence[str], Sequence[int]]:
    """Stable words, tentative words, and the target tokens up to the end of each."""
    if state.reference is not None:
        first = state.num_written + 1
        return state.reference, (), range(first, first + len(state.reference))
    target = state.target
    return (
        WordValues(operator.attrgetter("text"), target.words),
        WordValues(operator.attrgetter("text"), target.tentative_words),
        WordValues(operator.attrgetter("num_tokens"), target.words, target.tentative_words),
    )
