"""What every encoder that takes a chunk at a time keeps of its streams, and its portable form.

Symbols: ``B`` streams, ``c`` encoder frames of a chunk, ``F`` mel bins.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar

import safetensors
import safetensors.torch
from torch import Tensor

from echostream.encoder.state import EncoderState
from echostream.errors import StateMismatchError
from echostream.saved_state import header_in, metadata_of, seal, unseal

FORMAT = "echostream-stream-state-2"


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
    """``[B, 2 c, F]``: feature frames that do not fill a chunk yet, then zeros."""
    pending_lengths: Tensor
    """``[B]`` int64: feature frames in ``pending``, below ``2 c``."""
    chunk_size: int
    layout: str
    """Which configuration the tensors are laid out for (the encoder's ``layout``)."""

    def replaced(self, **changes: Any) -> Self:
        """The state with other values in some fields."""
        return dataclasses.replace(self, **changes)

    def to_bytes(self, fingerprint: str) -> bytes:
        """The state as safetensors with a JSON header; ``fingerprint`` is the encoder's."""
        tensors = {name: tensor.contiguous() for name, tensor in self.named_tensors()}
        header = {
            "format": FORMAT,
            "fingerprint": fingerprint,
            "batch_size": self.batch_size,
            "chunking": {name: getattr(self, name) for name in self.chunking},
        }
        return seal(safetensors.torch.save(tensors, metadata=metadata_of(header)))


S = TypeVar("S", bound=ChunkState)


def restored(data: bytes, fingerprint: str, init_state: Callable[..., S]) -> S:
    """The state that :meth:`ChunkState.to_bytes` wrote, for the encoder of these two.

    Raises:
        StateMismatchError: if the bytes are damaged or belong to another encoder.
    """
    body = unseal(data, "stream state")
    try:
        tensors = safetensors.torch.load(body)
        header = header_in(body)
        batch_size, chunking = int(header["batch_size"]), dict(header["chunking"])
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise StateMismatchError(
            f"these {len(data)} bytes are not a saved stream state ({error}); expected what "
            "ChunkState.to_bytes wrote"
        ) from error
    for key, expected in (("format", FORMAT), ("fingerprint", fingerprint)):
        if header.get(key) != expected:
            raise StateMismatchError(
                f"the saved stream state has {key} {header.get(key)!r}; expected {expected!r}: "
                "restore it with the model and version that saved it"
            )
    template = init_state(batch_size, **chunking)

    def read(name: str, like: Tensor) -> Tensor:
        found = tensors.get(name)
        if found is None or found.shape != like.shape or found.dtype != like.dtype:
            shape = None if found is None else tuple(found.shape)
            raise StateMismatchError(
                f"the saved stream state has {name} of shape {shape}; expected "
                f"{tuple(like.shape)} {like.dtype}"
            )
        return found.to(like.device)

    return template.map(read)
