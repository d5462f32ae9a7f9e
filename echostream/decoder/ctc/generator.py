"""The generator of CTC searches: candidates are the unwritten words of the hypothesis."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from echostream.decoder.candidates import Candidates
from echostream.decoder.ctc.hypothesis import Hypothesis, HypothesisState, without_written
from echostream.decoder.generator import EncodedChunk, GeneratorParts, register
from echostream.decoder.words import Word, WordAssembler


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
    token for ``pause_ms``: whoever pauses has finished the word.

    Args:
        parts: searches and vocabularies.
    """

    def __init__(self, parts: GeneratorParts) -> None:
        tokenizer = parts.tokenizers[parts.output]
        assembler = None if tokenizer is None else WordAssembler(tokenizer, parts.output_unit)
        self.heads = tuple(parts.searches)
        self._pause_frames = parts.pause_ms // parts.frame_ms
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
