"""What every encoder that takes a chunk at a time keeps of its streams, and its portable form.

Symbols: ``B`` streams, ``c`` encoder frames of a chunk, ``r`` of right context, ``F`` mel bins.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import Tensor

from echostream.codec import decode, encode
from echostream.constants import SUBSAMPLING
from echostream.encoder.state import EncoderState
from echostream.errors import StateMismatchError

_WHAT = "stream state"


@dataclass(frozen=True)
class ChunkState(EncoderState):
    """The counters of ``B`` streams and the feature frames that wait for the rest of a chunk."""

    counters = frozenset(("processed_frames", "segment_id", "finished", "pending_lengths"))

    chunking: ClassVar[tuple[str, ...]] = ("chunk_size",)
    """Fields that are arguments of ``init_state``."""

    processed_frames: Tensor
    """``[B]`` int64: encoder frames given out so far."""
    segment_id: Tensor
    """``[B]`` int64: segments pushed so far."""
    finished: Tensor
    """``[B]`` bool: the end of the recording was pushed."""
    pending: Tensor
    """``[B, 2 (c + r), F]``: feature frames that wait to be encoded, then zeros."""
    pending_lengths: Tensor
    """``[B]`` int64: feature frames in ``pending``, below ``2 (c + r)``."""
    chunk_size: int
    layout: str
    """Which configuration the tensors are laid out for (the encoder's ``layout``)."""

    @property
    def right_context(self) -> int:
        """Encoder frames behind a chunk that its frames see: ``r``."""
        return self.pending.shape[1] // SUBSAMPLING - self.chunk_size

    def replaced(self, **changes: Any) -> Self:
        """The state with other values in some fields."""
        return dataclasses.replace(self, **changes)

    def to_bytes(self, fingerprint: str) -> bytes:
        """The state under :mod:`echostream.codec`; ``fingerprint`` is the encoder's."""
        return encode(self, _WHAT, fingerprint)


S = TypeVar("S", bound=ChunkState)


def restored(data: bytes, fingerprint: str, init_state: Callable[..., S]) -> S:
    """The state that :meth:`ChunkState.to_bytes` wrote, for the encoder of these two.

    Raises:
        StateMismatchError: if the bytes are damaged or belong to another encoder.
    """
    state = decode(data, _WHAT, fingerprint)
    if not isinstance(state, ChunkState):
        raise StateMismatchError(
            f"the saved {_WHAT} is a {type(state).__name__}; expected what to_bytes wrote"
        )
    chunking = {name: getattr(state, name) for name in state.chunking}
    like = init_state(state.batch_size, **chunking)
    differing = sorted({name for name, *_ in _shapes(state) ^ _shapes(like)})
    if differing:
        raise StateMismatchError(
            f"the saved {_WHAT} has another shape or type in {', '.join(differing)}; expected "
            "those of init_state()"
        )
    return state.to(like.device)  # type: ignore[return-value]


def _shapes(state: ChunkState) -> set[tuple[str, torch.Size, torch.dtype]]:
    return {(name, each.shape, each.dtype) for name, each in state.named_tensors()}
