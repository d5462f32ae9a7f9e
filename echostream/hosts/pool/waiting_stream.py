"""One stream of a pool: its states, and the feature frames that have not been encoded.

Symbols: ``T`` feature frames (100 Hz), ``F`` mel bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from echostream.constants import FRAME_SHIFT_MS
from echostream.decoder.generator import EncodedChunk
from echostream.encoder.state import EncoderState
from echostream.session.costs import Costs
from echostream.session.listener import ListenerState
from echostream.session.session import Segment, Session
from echostream.session.translator import Step, TranslatorState
from echostream.session.writer import Turn


class WaitingStream:
    """Changes in place; everything in it but this object itself is pure.

    Args:
        number: of the stream in its pool.
        session: of a stream that begins or goes on. It is told of audio once all that was pushed
            is served as far as whole chunks go, so that whoever watches sees what a stream does
            alone.
    """

    def __init__(self, number: int, session: Session) -> None:
        self.number = number
        self.session = session
        state = session.state
        self.front_end: Any = state.listener.front_end
        self.encoder: Any = state.listener.encoder.to(session.translator.listener.device)
        self.writer = state.writer
        self.ending = state.finished
        """Whether the source has ended."""
        self.served = False
        """Whether a batch is being computed with it right now."""
        self.front_end_ms = 0.0
        """Spent since the last portion was taken."""
        self.told_ms = 0.0
        """Of that, what the session was told of."""
        self.pushed: list[NDArray[Any]] = []
        """Audio that the session has not been told of."""
        self.sample_rate: int | None = None
        """Of that audio."""
        self.refused: list[tuple[Segment, Exception]] = []
        """Behind it."""
        self.turns: tuple[Turn, ...] = ()
        """Of that audio, so far."""
        self.costs: Costs = {}
        """Likewise."""
        self._parts: list[Tensor] = []
        self.num_frames = 0
        """Feature frames that wait."""
        encoder = session.translator.listener.encoder
        self.unit: int = encoder.frame_ms // FRAME_SHIFT_MS
        """Feature frames of an encoder frame."""
        self._nothing = torch.zeros(0, encoder.input_dim)

    @property
    def waiting_ms(self) -> int:
        """Audio that waits, but for the right context that waits behind every chunk."""
        behind = self.encoder.right_context * self.unit
        return max(0, self.num_frames + self._pending - behind) * FRAME_SHIFT_MS

    @property
    def is_ready(self) -> bool:
        """Whether there is something to compute: a whole chunk, or the end."""
        return not self.served and (self.ending or self.num_frames >= self.window)

    @property
    def window(self) -> int:
        """Feature frames that make the next chunk whole, with its right context."""
        state = self.encoder
        return (state.chunk_size + state.right_context) * self.unit - self._pending

    @property
    def has_frames(self) -> bool:
        """Whether the encoder would give frames; at the end less than one of its own gives none."""
        return self.num_frames >= (self.unit - self._pending if self.ending else self.window)

    @property
    def _pending(self) -> int:
        """Feature frames that wait in the encoder's state: right context of the last chunk."""
        return int(self.encoder.pending_lengths) if self.encoder.right_context else 0

    def put(self, features: Tensor) -> None:
        """Feature frames ``[T, F]`` that wait from now on."""
        if len(features):
            self._parts.append(features)
            self.num_frames += len(features)

    def take(self) -> Portion:
        """The next chunk, which no longer waits."""
        joined = self._parts[0] if len(self._parts) == 1 else self.waiting_features()
        window, has_frames = min(self.window, len(joined)), self.has_frames
        rest = joined[window:]
        self._parts = [rest] if len(rest) else []
        self.num_frames = len(rest)
        self.served = True
        front_end_ms, self.front_end_ms = self.front_end_ms, 0.0
        is_final = self.ending and len(rest) < self.unit
        return Portion(self, joined[:window], is_final, has_frames, front_end_ms)

    def put_back(self, portion: Portion) -> None:
        """Undo :meth:`take`."""
        self._parts.insert(0, portion.features)
        self.num_frames += len(portion.features)
        self.front_end_ms += portion.front_end_ms
        self.served = False

    def waiting_features(self) -> Tensor:
        """``[T, F]`` of all that waits."""
        return torch.cat(self._parts or [self._nothing])

    def detached(self) -> Detached:
        """All of it that matters elsewhere."""
        listener = ListenerState(self.front_end, self.encoder, self.ending)
        return Detached(TranslatorState(listener, self.writer), self.waiting_features())


@dataclass(frozen=True, eq=False)
class Detached:
    """A stream that is in no pool; :mod:`echostream.codec` can save it."""

    state: TranslatorState
    features: Tensor
    """``[T, F]``, heard and not encoded."""


@dataclass(frozen=True, eq=False)
class Portion:
    """What a stream brings into a batch."""

    stream: WaitingStream
    features: Tensor
    """``[T, F]``, at most a chunk and its right context."""
    is_final: bool
    """Whether the stream ends with them."""
    has_frames: bool
    """Whether the encoder gives frames for it."""
    front_end_ms: float
    """Spent since the portion before."""


@dataclass(frozen=True, eq=False)
class Share:
    """What a stream gets of what a batch computed together."""

    state: EncoderState
    chunks: tuple[EncodedChunk, ...]
    costs: Costs


@dataclass(frozen=True)
class Served:
    """What one stream got from a batch."""

    step: Step
    """Its costs are its own and its share of what was computed together."""
    finished: bool = False
    """Whether this was the stream's last; it is no longer in the pool."""
    error: Exception | None = None
    """What its search or policy raised; it is no longer in the pool then."""

    @property
    def words(self) -> tuple[str, ...]:
        """Words to write now."""
        return self.step.words
