"""The first half of the agent: audio to encoder frames and CTC log-probabilities.

Symbols: ``B`` streams, ``T`` feature frames, ``F`` mel bins, ``n`` encoder frames of a chunk,
``C`` encoder channels, ``V`` CTC vocabulary.

Nothing here knows of words or policies, so what a listener gives can be kept and written from again
with any decoder and policy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echostream.audio import FrontEndState
from echostream.audio.samples import Samples
from echostream.backend import CompiledEncoder
from echostream.errors import StreamClosedError
from echostream.model import Encoder, EncoderState, SpeechModel
from echostream.session.costs import DEFAULT_CLOCK, Clock, StageCosts


class AudioFrontEnd(Protocol):
    """What :class:`echostream.audio.FrontEnd` does, and the baseline's that starts over."""

    def init_state(self) -> Any: ...

    def step(
        self, samples: Samples, sample_rate: int | None, state: Any
    ) -> tuple[NDArray[np.float32], Any]: ...

    def flush(self, state: Any) -> tuple[NDArray[np.float32], Any]: ...


@dataclass(frozen=True, eq=False)
class EncodedChunk:
    """One chunk as the second half of the agent sees it."""

    frames: Tensor
    """``[n, C]``."""
    source_log_probs: Tensor
    """``[n, V]`` of the ASR head."""
    target_log_probs: Tensor | None
    """``[n, V]`` of the ST head; ``None`` for task ``asr``."""
    is_whole: bool
    """False for the shorter rest at the end of a recording; no decision is made after it."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """What one segment gave."""

    chunks: tuple[EncodedChunk, ...]
    costs: StageCosts


@dataclass(frozen=True)
class ListenerState:
    """One stream."""

    front_end: FrontEndState
    encoder: EncoderState
    finished: bool = False

    @property
    def audio_ms(self) -> float:
        """Audio heard so far."""
        rate = self.front_end.sample_rate
        return 0.0 if rate is None else self.front_end.samples_heard * 1000 / rate


class Listener:
    """Front end, encoder and CTC heads; holds no stream.

    Args:
        model: in evaluation mode.
        front_end: made for the model.
        task: ``s2tt`` or ``asr``, which needs no ST head.
        chunking: arguments of the encoder's ``init_state``.
        clock: measures the stages.
        encoder: a compiled form of the model's encoder, to be run in its place.
    """

    def __init__(
        self,
        model: SpeechModel,
        front_end: AudioFrontEnd,
        *,
        task: str,
        chunking: dict[str, Any],
        clock: Clock = DEFAULT_CLOCK,
        encoder: Encoder | CompiledEncoder | None = None,
    ) -> None:
        self.model = model
        # Each kind of encoder takes only its own kind of state.
        self._encoder: Any = model.encoder if encoder is None else encoder
        self.front_end = front_end
        self.task = task
        self._chunking = chunking
        self.clock = clock

    @property
    def encoder(self) -> Any:
        """The encoder that is run: the model's, or a compiled form of it."""
        return self._encoder

    def init_state(self) -> ListenerState:
        """A stream of which nothing has been heard."""
        encoder = self._encoder.init_state(1, **self._chunking)
        return ListenerState(self.front_end.init_state(), encoder)

    @torch.no_grad()
    def step(
        self, samples: Samples, sample_rate: int | None, state: ListenerState, *, is_final: bool
    ) -> tuple[Encoded, ListenerState]:
        """Hear more audio; with ``is_final`` the rest of the recording is encoded too.

        Raises:
            StreamClosedError: if the stream has ended before.
            AudioFormatError: for audio that cannot be used; the state stays good.
        """
        if state.finished:
            raise StreamClosedError(
                f"a segment arrived after the end of a stream of {state.audio_ms:.0f} ms; reset "
                "the agent to begin a new one"
            )
        started = self.clock()
        features, front_end = self.hear(samples, sample_rate, state.front_end, is_final=is_final)
        heard = self.clock()
        frames, lengths, encoder = self._encoder.step(
            features[None].to(state.encoder.device), state.encoder, is_final=is_final
        )
        encoded = self.clock()
        (chunks,) = self.chunks(frames, lengths.tolist(), encoder.chunk_size)
        costs = StageCosts(
            front_end_ms=1000 * (heard - started),
            encoder_ms=1000 * (encoded - heard),
            heads_ms=1000 * (self.clock() - encoded),
        )
        state = dataclasses.replace(state, front_end=front_end, encoder=encoder, finished=is_final)
        return Encoded(chunks, costs), state

    def hear(
        self, samples: Samples, sample_rate: int | None, state: Any, *, is_final: bool
    ) -> tuple[Tensor, Any]:
        """The front end alone: feature frames ``[T, F]`` that more audio makes known.

        ``state`` is the front end's, as in :attr:`ListenerState.front_end`.

        Raises:
            AudioFormatError: for audio that cannot be used; the state stays good.
        """
        features, state = self.front_end.step(samples, sample_rate, state)
        if is_final:
            rest, state = self.front_end.flush(state)
            features = np.concatenate((features, rest))
        return torch.from_numpy(features), state

    @torch.no_grad()
    def chunks(
        self, frames: Tensor, lengths: Sequence[int], chunk_size: int
    ) -> list[tuple[EncodedChunk, ...]]:
        """The CTC heads alone: what each of ``B`` streams' encoder frames say.

        Args:
            frames: ``[B, any, C]`` from the encoder.
            lengths: how many of them are each stream's.
            chunk_size: encoder frames of a whole chunk.
        """
        chunks: list[list[EncodedChunk]] = [[] for _ in lengths]
        for start in range(0, frames.shape[1], chunk_size):
            # Chunk by chunk, so that cuts of a recording change no bit.
            part = frames[:, start : start + chunk_size]
            source = self.model.asr_head(part).cpu()
            target = self.model.st_head(part).cpu() if self.task == "s2tt" else None
            for row, length in enumerate(lengths):
                count = min(chunk_size, length - start)
                if count > 0:
                    chunks[row].append(
                        EncodedChunk(
                            frames=part[row, :count],
                            source_log_probs=source[row, :count],
                            target_log_probs=None if target is None else target[row, :count],
                            is_whole=count == chunk_size,
                        )
                    )
        return [tuple(own) for own in chunks]
