"""States and views as the few flat tensors that a compiled graph takes and gives.

Symbols: ``B`` streams, ``c`` encoder frames of a chunk.

A compiled graph is called with every input by name, and each costs time; a state has up to a
hundred tensors. So all that is carried from chunk to chunk lies in one flat tensor, and all masks
in another.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from echostream.encoder.call_view import CallView
from echostream.encoder.ct_mask import FrameView
from echostream.encoder.layer import LayerState
from echostream.encoder.memory_bank import MemoryState, MemoryView
from echostream.encoder.stack import StackState
from echostream.encoder.stem import StemState
from echostream.encoder.stream_state import StreamState


@dataclass(frozen=True)
class StatePacking:
    """Where the tensors that a graph carries lie, for one layout and number of streams."""

    shapes: tuple[tuple[int, ...], ...]
    layers: tuple[int, ...]
    """Layers of each stack."""
    has_memory: bool

    @classmethod
    def of(cls, state: StreamState) -> StatePacking:
        """The packing of states like this one."""
        return cls(
            tuple(tuple(tensor.shape) for tensor in _carried(state)),
            tuple(len(stack.layers) for stack in state.stacks),
            state.memory is not None,
        )

    def pack(self, state: StreamState) -> Tensor:
        """All that a chunk changes, but for the counters, as one flat tensor."""
        # Without a left context some tensors are empty, which not every compiler can take.
        tensors = [tensor for tensor in _carried(state) if tensor.numel()]
        flat = tensors[0]._base
        if flat is not None and self._lie_in(flat, tensors):
            return flat
        return torch.cat([tensor.reshape(-1) for tensor in tensors])

    def _lie_in(self, flat: Tensor, tensors: list[Tensor]) -> bool:
        """Whether these are the views that :meth:`unpack` made of ``flat``."""
        start = 0
        for tensor in tensors:
            if tensor._base is not flat or tensor.storage_offset() != start:
                return False
            start += tensor.numel()
        return flat.shape == (start,) and flat.is_contiguous() and flat.storage_offset() == 0

    def unpack(self, flat: Tensor, state: StreamState) -> StreamState:
        """``state`` with the tensors that lie in ``flat``, which they keep alive as views."""
        sizes = [math.prod(shape) for shape in self.shapes]
        pieces = iter(flat.split([size for size in sizes if size]))
        tensors = iter(
            [
                next(pieces).view(shape) if size else flat.new_zeros(shape)
                for size, shape in zip(sizes, self.shapes, strict=True)
            ]
        )
        stem = StemState(next(tensors))
        stacks = tuple(
            StackState(
                tuple(LayerState(*(next(tensors) for _ in _LAYER_FIELDS)) for _ in range(count))
            )
            for count in self.layers
        )
        memory = MemoryState(next(tensors)) if self.has_memory else None
        return dataclasses.replace(state, stem=stem, stacks=stacks, memory=memory)


_LAYER_FIELDS = tuple(field.name for field in dataclasses.fields(LayerState))


def _carried(state: StreamState) -> Iterator[Tensor]:
    yield state.stem.features
    for stack in state.stacks:
        for layer in stack.layers:
            for name in _LAYER_FIELDS:
                yield getattr(layer, name)
    if state.memory is not None:
        yield state.memory.groups


def pack_view(view: CallView) -> tuple[Tensor, ...]:
    """All masks as one flat tensor, and with a memory bank the rows it reads, ``[B, G, M, R]``."""
    flat = torch.cat([tensor.reshape(-1) for tensor in _masks(view)])
    return (flat,) if view.memory is None else (flat, view.memory.rows.contiguous())


def unpack_view(flat: Tensor, rows: Tensor | None, like: CallView) -> CallView:
    """The inverse of :func:`pack_view`, for a view of the same shapes as ``like``."""
    shapes = [tuple(tensor.shape) for tensor in _masks(like)]
    pieces = flat.split([math.prod(shape) for shape in shapes])
    tensors = iter([p.view(shape) for p, shape in zip(pieces, shapes, strict=True)])
    frames: Mapping[int, FrameView] = {
        rate: dataclasses.replace(view, mask=next(tensors), exists=next(tensors), whole=False)
        for rate, view in like.frames.items()
    }
    memory = None if rows is None else MemoryView(rows, next(tensors))
    return CallView(frames, memory, frames[1].exists)


def _masks(view: CallView) -> Iterator[Tensor]:
    for frames in view.frames.values():
        yield frames.mask
        yield frames.exists
    if view.memory is not None:
        yield view.memory.mask
