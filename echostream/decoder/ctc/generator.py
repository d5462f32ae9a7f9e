"""The generator of CTC searches: candidates are the unwritten words of a growing hypothesis.

Symbols: ``T`` encoder frames of one call, ``V`` CTC vocabulary.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from echostream.decoder.candidates import Candidates
from echostream.decoder.ctc.protocol import Decoder, DecoderOutput
from echostream.decoder.generator import EncodedChunk, GeneratorParts, register
from echostream.decoder.words import Word, WordAssembler, WordState

PAUSE_MS = 400
"""Silence after which the last word is complete; see docs/agent.md for how it was chosen."""


@dataclass(frozen=True)
class HypothesisState:
    """Carry of one stream; holds only what is not written yet."""

    decoder: Any
    """State of the search."""
    num_stable_tokens: int = 0
    num_tentative_tokens: int = 0
    assembler: WordState = dataclasses.field(default_factory=WordState)
    words: tuple[Word, ...] = ()
    """Complete words that can no longer change and are not written."""
    tentative_words: tuple[Word, ...] = ()
    """Complete words after those, which later audio may revise."""
    last_frame: int = -1
    """Encoder frame of the last token, a tentative one included; -1 before the first."""
    num_ahead: int = 0
    """Words that were written while they were tentative and have not become stable yet. What is
    written stands, so that many words of the hypothesis are passed over when they arrive."""

    @property
    def num_tokens(self) -> int:
        """Tokens of the hypothesis so far, tentative ones included."""
        return self.num_stable_tokens + self.num_tentative_tokens

    @property
    def pending(self) -> tuple[Word, ...]:
        """All complete words that are not written."""
        return self.words + self.tentative_words


class Hypothesis:
    """Search and word assembly behind one head; immutable, shared by streams.

    Args:
        decoder: the CTC search.
        assembler: makes words of tokens; ``None`` if only the number of tokens is wanted.
    """

    def __init__(self, decoder: Decoder[Any], assembler: WordAssembler | None) -> None:
        self._decoder = decoder
        self._assembler = assembler

    def init_state(self) -> HypothesisState:
        """State of a stream of which nothing has been heard."""
        return HypothesisState(self._decoder.init_state())

    def step(self, log_probs: Tensor, state: HypothesisState) -> HypothesisState:
        """Take the next ``[T, V]`` log-probabilities."""
        output, decoder = self._decoder.step(log_probs, state.decoder)
        return self._take(output, dataclasses.replace(state, decoder=decoder))

    def flush(self, state: HypothesisState, frame: int) -> HypothesisState:
        """End of the source at encoder frame ``frame``: every word is complete and final."""
        output, decoder = self._decoder.flush(state.decoder)
        state = self._take(output, dataclasses.replace(state, decoder=decoder))
        if self._assembler is None:
            return state
        last, assembler = self._assembler.flush(state.assembler, frame)
        return _with_words(dataclasses.replace(state, assembler=assembler), last, ())

    def pause(self, state: HypothesisState, frame: int) -> HypothesisState:
        """Nothing was said for a while: the pending word is complete at encoder frame ``frame``.

        The state itself, if no stable word is pending.
        """
        if self._assembler is None or state.num_tentative_tokens or not state.assembler.text:
            return state
        last, assembler = self._assembler.pause(state.assembler, frame)
        return _with_words(dataclasses.replace(state, assembler=assembler), last, ())

    def _take(self, output: DecoderOutput, state: HypothesisState) -> HypothesisState:
        tokens = output.tentative or output.stable
        state = dataclasses.replace(
            state,
            num_stable_tokens=state.num_stable_tokens + len(output.stable),
            num_tentative_tokens=len(output.tentative),
            last_frame=tokens[-1].frame if tokens else state.last_frame,
        )
        if self._assembler is None:
            return state
        stable, assembler = self._assembler.step(output.stable, state.assembler)
        tentative, _ = self._assembler.step(output.tentative, assembler)
        return _with_words(dataclasses.replace(state, assembler=assembler), stable, tentative)


def _with_words(
    state: HypothesisState, stable: tuple[Word, ...], tentative: tuple[Word, ...]
) -> HypothesisState:
    """Add newly stable words, replace the tentative ones, pass over those already written."""
    arrived = min(state.num_ahead, len(stable))
    ahead = state.num_ahead - arrived
    return dataclasses.replace(
        state,
        words=state.words + stable[arrived:],
        tentative_words=tentative[ahead:],
        num_ahead=ahead,
    )


def without_written(state: HypothesisState, count: int) -> HypothesisState:
    """The state after the first ``count`` pending words were written."""
    stable = min(count, len(state.words))
    tentative = count - stable
    return dataclasses.replace(
        state,
        words=state.words[stable:],
        tentative_words=state.tentative_words[tentative:],
        num_ahead=state.num_ahead + tentative,
    )


@dataclass(frozen=True)
class CtcState:
    """One stream."""

    hypotheses: tuple[HypothesisState, ...]
    """Of each head, the one that is written from last."""
    num_frames: int = 0
    """Encoder frames heard."""
    paused: bool = False
    """Whether no head has had a token for as long as a pause."""
    num_paused: int = 0
    """Words that a pause completed."""


@register("ctc")
class CtcGenerator:
    """A search over each CTC head; all words of the output head's hypothesis are at hand.

    A word is complete when the next one begins, when the source ends, or when no head has had a new
    token for ``--pause-ms``: whoever pauses has finished the word.

    Args:
        parts: searches and vocabularies.
    """

    def __init__(self, parts: GeneratorParts) -> None:
        tokenizer = parts.tokenizers[parts.output]
        assembler = None if tokenizer is None else WordAssembler(tokenizer, parts.output_unit)
        self.heads = tuple(parts.searches)
        self._pause_frames = parts.pause_frames(PAUSE_MS)
        self._hypotheses = tuple(
            Hypothesis(search, assembler if head == parts.output else None)
            for head, search in parts.searches.items()
        )

    def init_state(self) -> CtcState:
        """A stream of which nothing has been heard."""
        return CtcState(tuple(each.init_state() for each in self._hypotheses))

    def observe(self, chunk: EncodedChunk, state: CtcState) -> CtcState:
        """Search one chunk further."""
        hypotheses = tuple(
            hypothesis.step(chunk.log_probs[head], own)
            for head, hypothesis, own in zip(
                self.heads, self._hypotheses, state.hypotheses, strict=True
            )
        )
        num_frames = state.num_frames + len(chunk.frames)
        last_token = max(each.last_frame for each in hypotheses)
        paused = 0 < self._pause_frames <= num_frames - 1 - last_token
        state = dataclasses.replace(
            state, hypotheses=hypotheses, num_frames=num_frames, paused=paused
        )
        if not paused:
            return state
        *others, output = hypotheses
        completed = self._hypotheses[-1].pause(output, num_frames - 1)
        return dataclasses.replace(
            state,
            hypotheses=(*others, completed),
            num_paused=state.num_paused + (completed is not output),
        )

    def candidates(self, state: CtcState) -> tuple[Candidates, CtcState]:
        """All complete words that are not written."""
        output = state.hypotheses[-1]
        return Candidates(output.words, output.tentative_words, state.paused), state

    def commit(self, count: int, state: CtcState) -> tuple[tuple[Word, ...], CtcState]:
        """Write the first ``count`` of them."""
        *others, output = state.hypotheses
        written = output.pending[:count]
        after = without_written(output, len(written))
        return written, dataclasses.replace(state, hypotheses=(*others, after))

    def finish(self, state: CtcState) -> CtcState:
        """Every word is complete and final."""
        *others, output = state.hypotheses
        flushed = self._hypotheses[-1].flush(output, state.num_frames)
        return dataclasses.replace(state, hypotheses=(*others, flushed))

    def at_hand(self, state: CtcState) -> tuple[str, ...]:
        """All words that are not written, and the one that is not complete."""
        output = state.hypotheses[-1]
        begun = () if output.tentative_words else (output.assembler.text,)
        return tuple(filter(None, (*(word.text for word in output.pending), *begun)))

    def counters(self, state: CtcState) -> Mapping[str, int]:
        """Tokens of source and target, and what limits and pauses did."""
        assembler = state.hypotheses[-1].assembler
        return {
            "source_tokens": state.hypotheses[0].num_tokens,
            "target_tokens": state.hypotheses[-1].num_tokens,
            "words_dropped": assembler.repetition.dropped,
            "characters_cut": assembler.cut_characters,
            "words_paused": state.num_paused,
            "words_split": assembler.num_split,
        }
