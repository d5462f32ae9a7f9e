"""The whole state of a batch of streams, and its portable form.

Symbols: ``B`` streams, ``c`` encoder frames of a chunk, ``F`` mel bins.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from echostream.encoder.memory_bank import MemoryState
from echostream.encoder.protocol import PortableEncoder
from echostream.encoder.stack import StackState
from echostream.encoder.state import EncoderState, settings_of
from echostream.encoder.stem import StemState
from echostream.errors import StateMismatchError
from echostream.saved_state import header_in, metadata_of, seal, unseal

FORMAT = "echostream-stream-state-1"


@dataclass(frozen=True)
class StreamState(EncoderState):
    """Everything the encoder remembers of ``B`` streams; its size never changes.

    Made by ``ZipformerEncoder.init_state`` and replaced by each ``step``.
    """

    counters = frozenset(("processed_frames", "segment_id", "finished", "pending_lengths"))

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
    stem: StemState
    stacks: tuple[StackState, ...]
    memory: MemoryState | None
    chunk_size: int
    left_context: int
    max_future_frames: int | None
    layout: str
    """Which configuration the tensors are laid out for (``ZipformerEncoder.layout``)."""

    def replaced(self, **changes: Any) -> StreamState:
        """The state with other values in some fields."""
        return dataclasses.replace(self, **changes)

    def to_bytes(self, fingerprint: str) -> bytes:
        """The state as safetensors with a JSON header; ``fingerprint`` is the encoder's."""
        tensors = {name: tensor.contiguous() for name, tensor in self.named_tensors()}
        header = {
            "format": FORMAT,
            "fingerprint": fingerprint,
            "batch_size": self.batch_size,
            **_chunking(self),
        }
        return seal(safetensors.torch.save(tensors, metadata=metadata_of(header)))

    @classmethod
    def from_bytes(cls, data: bytes, encoder: PortableEncoder) -> StreamState:
        """The state that :meth:`to_bytes` wrote; see :meth:`PortableEncoder.restore`."""
        state: StreamState = encoder.restore(data)
        return state


def restored(data: bytes, fingerprint: str, init_state: Callable[..., StreamState]) -> StreamState:
    """The state that :meth:`StreamState.to_bytes` wrote, for the encoder of these two.

    Raises:
        StateMismatchError: if the bytes are damaged or belong to another encoder.
    """
    body = unseal(data, "stream state")
    try:
        tensors = safetensors.torch.load(body)
        header = header_in(body)
        batch_size = int(header["batch_size"])
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise StateMismatchError(
            f"these {len(data)} bytes are not a saved stream state ({error}); expected what "
            "StreamState.to_bytes wrote"
        ) from error
    for key, expected in (("format", FORMAT), ("fingerprint", fingerprint)):
        if header.get(key) != expected:
            raise StateMismatchError(
                f"the saved stream state has {key} {header.get(key)!r}; expected {expected!r}: "
                "restore it with the model and version that saved it"
            )
    chunking = {key: header[key] for key in _chunking_names}
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


_chunking_names = ("chunk_size", "left_context", "max_future_frames")


def _chunking(state: StreamState) -> dict[str, int | None]:
    settings = settings_of(state)
    return {name: settings[name] for name in _chunking_names}
