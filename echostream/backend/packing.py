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
from typing import Any

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
        if isinstance(state, PackedState) and state.flat is not None:
            return state.flat
        # Without a left context some tensors are empty, which not every compiler can take.
        return torch.cat([tensor.reshape(-1) for tensor in _carried(state) if tensor.numel()])

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


_CARRIED = ("stem", "stacks", "memory")


class PackedState(StreamState):
    """A state whose carried tensors lie in one, and are cut out of it when somebody asks for them.

    From chunk to chunk nobody does, and making a hundred tensors takes as long as a layer. What is
    made of it field by field has the tensors themselves, as any :class:`StreamState`.
    """

    @classmethod
    def of(
        cls, state: StreamState, packing: StatePacking, flat: Tensor, **changes: Any
    ) -> PackedState:
        """``state`` with what lies in ``flat``, and other changes to what is not carried."""
        new = object.__new__(cls)
        kept = {name: value for name, value in vars(state).items() if name not in _CARRIED}
        vars(new).update(kept, **changes, _packing=packing, _flat=flat)
        return new

    @property
    def flat(self) -> Tensor | None:
        """Where the carried tensors lie."""
        found: Tensor | None = vars(self).get("_flat")
        return found

    def replaced(self, **changes: Any) -> StreamState:
        """See :class:`StreamState`."""
        if self.flat is None or changes.keys() & set(_CARRIED):
            return super().replaced(**changes)
        return PackedState.of(self, vars(self)["_packing"], self.flat, **changes)

    def __getattr__(self, name: str) -> Any:
        """Only called for what is not there yet."""
        if name not in _CARRIED or self.flat is None:
            raise AttributeError(f"{type(self).__name__} has no {name}")
        whole = vars(self)["_packing"].unpack(self.flat, self)
        vars(self).update({carried: getattr(whole, carried) for carried in _CARRIED})
        return vars(self)[name]


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
