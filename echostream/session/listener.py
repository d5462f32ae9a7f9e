"""The first half of a step: audio to encoder frames and the heads' log-probabilities.

Symbols: ``B`` streams, ``T`` feature frames, ``F`` mel bins, ``n`` encoder frames of a chunk,
``C`` encoder channels.

Nothing here knows of words or policies, so what a listener gives can be kept and written from again
with any decoder and policy.
"""

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
from echostream.decoder.generator import EncodedChunk
from echostream.encoder.protocol import Encoder
from echostream.errors import ConfigError, StreamClosedError
from echostream.model import EncoderState, SpeechModel
from echostream.session.costs import DEFAULT_CLOCK, Clock, Costs, Stopwatch


class AudioFrontEnd(Protocol):
    """What :class:`echostream.audio.FrontEnd` does, and the baseline's that starts over."""

    def init_state(self) -> Any: ...

    def step(
        self, samples: Samples, sample_rate: int | None, state: Any
    ) -> tuple[NDArray[np.float32], Any]: ...

    def flush(self, state: Any) -> tuple[NDArray[np.float32], Any]: ...


@dataclass(frozen=True, eq=False)
class Encoded:
    """What one segment gave."""

    chunks: tuple[EncodedChunk, ...]
    costs: Costs


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
    """Front end, encoder and heads; holds no stream.

    Args:
        model: in evaluation mode.
        front_end: made for the model.
        heads: names of the heads that are wanted.
        chunking: arguments of the encoder's ``init_state``.
        threads: CPU threads of torch, in whatever thread of the host a step runs.
        clock: measures the stages.
        encoder: a compiled form of the model's encoder, to be run in its place.
    """

    def __init__(
        self,
        model: SpeechModel,
        front_end: AudioFrontEnd,
        *,
        heads: Sequence[str],
        chunking: dict[str, Any],
        threads: int = 1,
        clock: Clock = DEFAULT_CLOCK,
        encoder: Encoder | None = None,
    ) -> None:
        self.model = model
        # Each kind of encoder takes only its own kind of state.
        self.encoder: Any = model.encoder if encoder is None else encoder
        """That is run: the model's, or a compiled form of it."""
        self.front_end = front_end
        self.heads = {name: model.heads[name] for name in heads}
        self._chunking = chunking
        self.clock = clock
        self._threads = threads

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.cmvn_mean.device

    def to(self, device: torch.device) -> None:
        """Move the model; streams have to begin anew.

        Raises:
            ConfigError: if the encoder is compiled, which is for the CPU.
        """
        if self.encoder is not self.model.encoder and device.type != "cpu":
            raise ConfigError(
                f"the encoder is compiled for the CPU and cannot move to {device}; expected "
                "--backend torch --precision float32 there"
            )
        self.model.to(device)

    def use_threads(self) -> None:
        """Make torch compute on as many threads as were asked for; a host may have set others."""
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)

    @property
    def chunk_ms(self) -> int:
        """Audio of a chunk, ms."""
        milliseconds: int = self.init_state().encoder.chunk_size * self.encoder.frame_ms
        return milliseconds

    @property
    def right_context_ms(self) -> int:
        """Audio behind a chunk that it waits for, ms.

        Words come as early as they can be if that much is pushed first, and then a chunk at a time.
        """
        milliseconds: int = self.init_state().encoder.right_context * self.encoder.frame_ms
        return milliseconds

    def init_state(self) -> ListenerState:
        """A stream of which nothing has been heard."""
        encoder = self.encoder.init_state(1, **self._chunking)
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
        self.use_threads()
        watch = Stopwatch(self.clock)
        features, front_end = self.hear(samples, sample_rate, state.front_end, is_final=is_final)
        watch.lap("front_end")
        frames, lengths, encoder = self.encoder.step(
            features[None].to(state.encoder.device), state.encoder, is_final=is_final
        )
        watch.lap("encoder")
        (chunks,) = self.chunks(frames, lengths.tolist(), encoder.chunk_size)
        watch.lap("heads")
        state = dataclasses.replace(state, front_end=front_end, encoder=encoder, finished=is_final)
        return Encoded(chunks, watch.costs), state

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
        """The heads alone: what each of ``B`` streams' encoder frames say.

        Args:
            frames: ``[B, any, C]`` from the encoder.
            lengths: how many of them are each stream's.
            chunk_size: encoder frames of a whole chunk.
        """
        chunks: list[list[EncodedChunk]] = [[] for _ in lengths]
        for start in range(0, frames.shape[1], chunk_size):
            # Chunk by chunk, so that cuts of a recording change no bit.
            part = frames[:, start : start + chunk_size]
            log_probs = {name: head(part).cpu() for name, head in self.heads.items()}
            for row, length in enumerate(lengths):
                count = min(chunk_size, length - start)
                if count > 0:
                    chunks[row].append(
                        EncodedChunk(
                            frames=part[row, :count],
                            log_probs={name: own[row, :count] for name, own in log_probs.items()},
                            is_whole=count == chunk_size,
                        )
                    )
        return [tuple(own) for own in chunks]
