"""From audio to words to write, for any host: front end, encoder, CTC search, policy.

A :class:`Translator` holds what all streams share and never changes; a :class:`TranslatorState`
holds one stream. ``step`` is pure, so a host can keep, copy, or go back to any state.

Everything is done chunk by chunk in the order of the audio, and each chunk is computed alone. How
the audio was cut into segments therefore changes when words come out, and nothing else.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from echostream.agent.hypothesis import Hypothesis, HypothesisState, without_written
from echostream.audio import FrontEnd, FrontEndState
from echostream.audio.samples import Samples
from echostream.constants import ENCODER_FRAME_MS
from echostream.decoder import Decoder, WordAssembler
from echostream.encoder import StreamState
from echostream.errors import StreamClosedError
from echostream.model import SpeechModel
from echostream.policy import Decision, Policy, PolicyContext, needs_encoder_history

TASKS = ("s2tt", "asr")
"""Speech-to-text translation, or transcription of the source."""


@dataclass(frozen=True)
class TranslatorState:
    """One stream."""

    front_end: FrontEndState
    encoder: StreamState
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
    finished: bool = False


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


class Translator:
    """What all streams of a model share.

    Args:
        model: in evaluation mode.
        policy: decides when to write.
        decoders: CTC search for the ASR head and for the ST head.
        assembler: makes words of the output head's tokens; may be ``None`` for a forced writer.
        task: one of :data:`TASKS`.
        chunking: arguments of ``ZipformerEncoder.init_state``.
    """

    def __init__(
        self,
        model: SpeechModel,
        policy: Policy,
        decoders: tuple[Decoder[Any], Decoder[Any]],
        assembler: WordAssembler | None,
        *,
        task: str = "s2tt",
        chunking: dict[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.policy = policy
        self.task = task
        audio = model.config.audio
        self.front_end = FrontEnd(
            model.cmvn,
            lead_in_samples=audio.lead_in_samples,
            nan_policy=audio.nan_policy,  # type: ignore[arg-type]
        )
        translating = task == "s2tt"
        self._source = Hypothesis(decoders[0], None if translating else assembler)
        self._target = Hypothesis(decoders[1], assembler) if translating else None
        self._chunking = chunking or {}
        self._keeps_history = needs_encoder_history(policy)

    def init_state(self, reference: str | None = None) -> TranslatorState:
        """A stream of which nothing has been heard; with ``reference`` a forced one."""
        source = self._source.init_state()
        return TranslatorState(
            front_end=self.front_end.init_state(),
            encoder=self.model.encoder.init_state(1, **self._chunking),
            source=source,
            target=source if self._target is None else self._target.init_state(),
            reference=None if reference is None else tuple(reference.split()),
        )

    @torch.no_grad()
    def step(
        self, samples: Samples, sample_rate: int | None, state: TranslatorState, *, is_final: bool
    ) -> tuple[tuple[Turn, ...], TranslatorState]:
        """Hear more audio; the last turn of a final step writes everything that is left.

        Args:
            samples: any number of samples, in any form the front end takes.
            sample_rate: of the samples, Hz; not looked at when there are none.
            state: of this stream.
            is_final: whether the source ends with these samples.

        Raises:
            StreamClosedError: if the stream has ended before.
            AudioFormatError: for audio that cannot be used; the state stays good.
        """
        if state.finished:
            raise StreamClosedError(
                f"a segment arrived after the end of a stream of {state.num_frames} encoder "
                "frames; reset the agent to begin a new one"
            )
        features, front_end = self.front_end.step(samples, sample_rate, state.front_end)
        if is_final:
            rest, front_end = self.front_end.flush(front_end)
            features = np.concatenate((features, rest))
        device = state.encoder.pending.device
        frames, _, encoder = self.model.encoder.step(
            torch.from_numpy(features)[None].to(device), state.encoder, is_final=is_final
        )
        state = dataclasses.replace(state, front_end=front_end, encoder=encoder, finished=is_final)

        turns: list[Turn] = []
        size = encoder.chunk_size
        for chunk in frames[0].split(size) if frames.shape[1] else ():
            state = self._decode(chunk, state)
            if len(chunk) == size:
                state = dataclasses.replace(state, num_chunks=state.num_chunks + 1)
                turn, state = self._decide(chunk, state, source_finished=False)
                turns.append(turn)
        if is_final:
            target = self._target or self._source
            flushed = target.flush(state.target, state.num_frames)
            state = dataclasses.replace(state, target=flushed)
            turn, state = self._decide(frames[0, :0], state, source_finished=True)
            turns.append(turn)
        return tuple(turns), state

    def _decode(self, chunk: Tensor, state: TranslatorState) -> TranslatorState:
        """Take the encoder frames ``[T, C]`` of one chunk into the hypotheses."""
        source = self._source.step(self.model.asr_head(chunk[None])[0].cpu(), state.source)
        target = source
        if self._target is not None:
            target = self._target.step(self.model.st_head(chunk[None])[0].cpu(), state.target)
        history = state.history
        if self._keeps_history:
            history = chunk if history is None else torch.cat((history, chunk))
        return dataclasses.replace(
            state,
            source=source,
            target=target,
            history=history,
            num_frames=state.num_frames + len(chunk),
        )

    def _decide(
        self, chunk: Tensor, state: TranslatorState, *, source_finished: bool
    ) -> tuple[Turn, TranslatorState]:
        """Ask the policy once and write what it says."""
        words, tentative, token_ends = self._pending(state)
        decision: Decision = self.policy.decide(
            PolicyContext(
                encoder_frames=chunk if state.history is None else state.history,
                num_encoder_frames=state.num_frames,
                num_chunks=state.num_chunks,
                audio_ms=state.num_frames * ENCODER_FRAME_MS,
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
        pending = (*words, *tentative)
        count = len(pending) if source_finished else min(decision.write, len(pending))
        if state.reference is not None:
            state = dataclasses.replace(state, reference=state.reference[count:])
        else:
            target = without_written(state.target, count)
            source = target if self._target is None else state.source
            state = dataclasses.replace(state, source=source, target=target)
        state = dataclasses.replace(
            state, policy=decision.state, num_written=state.num_written + count
        )
        turn = Turn(
            num_chunks=state.num_chunks,
            audio_ms=state.num_frames * ENCODER_FRAME_MS,
            reason=decision.reason,
            words=tuple(pending[:count]),
        )
        return turn, state

    @staticmethod
    def _pending(
        state: TranslatorState,
    ) -> tuple[tuple[str, ...], tuple[str, ...], tuple[int, ...] | range]:
        """Stable words, tentative words, and the target tokens up to the end of each."""
        if state.reference is not None:
            first = state.num_written + 1
            return state.reference, (), range(first, first + len(state.reference))
        target = state.target
        return (
            tuple(word.text for word in target.words),
            tuple(word.text for word in target.tentative_words),
            tuple(word.num_tokens for word in target.pending),
        )
