"""States and masks as the few flat tensors that a compiled graph takes and gives.

Symbols: ``B`` streams, ``c`` encoder frames of a chunk.

Each input of a compiled graph costs time, and a state has up to a hundred tensors. So what is
carried from chunk to chunk lies in a few flat ones, and all masks in another.

Most of a state are the keys and values of the left context, of which a chunk changes nothing: it
puts its own after them, and the oldest fall out. So they lie in blocks of a chunk each, and the
next state has all blocks of the one before but the oldest, and a new one. Nothing is moved.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from echostream.encoder.chunk_masks import ChunkMasks
from echostream.encoder.ct_mask import StackMask
from echostream.encoder.layer import LayerState
from echostream.encoder.memory_bank import MemoryMask, MemoryState
from echostream.encoder.stack import StackState
from echostream.encoder.stem import StemState
from echostream.encoder.stream_state import StreamState

_MOST_BLOCKS = 16
"""Beyond that the left context is one block, which is copied for each chunk."""


@dataclass(frozen=True)
class StatePacking:
    """Where the tensors that a graph carries lie, for one layout and number of streams.

    A packed state is a tuple: what changes with every chunk as one flat tensor, and the blocks of
    the left context, the oldest first.
    """

    shapes: tuple[tuple[int, ...], ...]
    """Of the tensors that change with every chunk."""
    pasts: tuple[tuple[int, ...], ...]
    """Of the keys and values of the left context."""
    blocks: int
    """That the left context lies in; 0 without one."""
    layers: tuple[int, ...]
    """Layers of each stack."""
    has_memory: bool

    @classmethod
    def of(cls, state: StreamState) -> StatePacking:
        """The packing of states like this one."""
        chunk, left = state.chunk_size, state.left_context
        count, rest = divmod(left, chunk)
        blocks = count if rest == 0 and count <= _MOST_BLOCKS else 1
        return cls(
            tuple(tuple(tensor.shape) for tensor in _changing(state)),
            tuple(tuple(tensor.shape) for tensor in _pasts(state)),
            blocks,
            tuple(len(stack.layers) for stack in state.stacks),
            state.memory is not None,
        )

    def pack(self, state: StreamState) -> tuple[Tensor, ...]:
        """All that a chunk changes, but for the counters."""
        if isinstance(state, PackedState) and state.packed is not None:
            return state.packed
        pasts = [past.chunk(self.blocks, dim=1) for past in _pasts(state)] if self.blocks else []
        return _joined(_changing(state)), *(_joined(block) for block in zip(*pasts, strict=True))

    def pack_new(self, state: StreamState) -> tuple[Tensor, ...]:
        """What a chunk leaves, given the state after it: the first tensor and the last block."""
        newest = [
            past[:, shape[1] - shape[1] // self.blocks :]
            for past, shape in zip(_pasts(state), self.pasts, strict=True)
            if self.blocks
        ]
        return (_joined(_changing(state)), *([_joined(newest)] if newest else []))

    def unpack(self, packed: tuple[Tensor, ...], state: StreamState) -> StreamState:
        """``state`` with the tensors that lie in ``packed``, which they may be views of."""
        flat, *blocks = packed
        changing = iter(_cut(flat, self.shapes))
        shapes = [
            (batch, frames // max(1, self.blocks), size) for batch, frames, size in self.pasts
        ]
        cut = [_cut(block, shapes) for block in blocks]
        pasts = iter(
            [
                torch.cat(pieces, dim=1) if len(pieces) > 1 else pieces[0]
                for pieces in zip(*cut, strict=True)
            ]
            if blocks
            else [flat.new_zeros(shape) for shape in self.pasts]
        )
        stem = StemState(next(changing))
        stacks = tuple(
            StackState(
                tuple(
                    LayerState(
                        **{name: next(pasts) for name in _PASTS},
                        **{name: next(changing) for name in _OTHERS},
                    )
                    for _ in range(count)
                )
            )
            for count in self.layers
        )
        memory = MemoryState(next(changing)) if self.has_memory else None
        return dataclasses.replace(state, stem=stem, stacks=stacks, memory=memory)


def after_chunk(packed: tuple[Tensor, ...], left: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The packed state after a chunk that left what :meth:`StatePacking.pack_new` says."""
    flat, *newest = left
    return flat, *packed[1 + len(newest) :], *newest


_CARRIED = ("stem", "stacks", "memory")
_KEPT = [f.name for f in dataclasses.fields(StreamState) if f.name not in _CARRIED]


class PackedState(StreamState):
    """A state whose carried tensors lie in one, and are cut out of it when somebody asks for them.

    From chunk to chunk nobody does, and making a hundred tensors takes as long as a layer. What is
    made of it field by field has the tensors themselves, as any :class:`StreamState`.
    """

    def __init__(
        self, within: tuple[StatePacking, tuple[Tensor, ...]] | None = None, **fields: Any
    ) -> None:
        """The fields of a :class:`StreamState`, without those carried if they lie ``within``."""
        vars(self).update(fields, within=within)

    @classmethod
    def of(
        cls, state: StreamState, packing: StatePacking, packed: tuple[Tensor, ...], **changes: Any
    ) -> PackedState:
        """``state`` with what lies in ``packed``, and other changes to what is not carried."""
        kept = {name: getattr(state, name) for name in _KEPT}
        return cls((packing, packed), **kept | changes)

    @property
    def packed(self) -> tuple[Tensor, ...] | None:
        """Where the carried tensors lie."""
        within = vars(self).get("within")
        return None if within is None else within[1]

    def replaced(self, **changes: Any) -> Any:
        """See :class:`StreamState`."""
        if self.packed is None or changes.keys() & set(_CARRIED):
            return super().replaced(**changes)
        return PackedState.of(self, *vars(self)["within"], **changes)

    def __getattr__(self, name: str) -> Any:
        """Only called for what is not there yet."""
        if name not in _CARRIED or self.packed is None:
            raise AttributeError(f"{type(self).__name__} has no {name}")
        packing, packed = vars(self)["within"]
        whole = packing.unpack(packed, self)
        vars(self).update({carried: getattr(whole, carried) for carried in _CARRIED})
        return vars(self)[name]


_PASTS = ("keys", "nonlinear_values", "values1", "values2")
_OTHERS = ("conv1", "conv2")


def _pasts(state: StreamState) -> Iterator[Tensor]:
    for stack in state.stacks:
        for layer in stack.layers:
            for name in _PASTS:
                yield getattr(layer, name)


def _changing(state: StreamState) -> Iterator[Tensor]:
    yield state.stem.features
    for stack in state.stacks:
        for layer in stack.layers:
            for name in _OTHERS:
                yield getattr(layer, name)
    if state.memory is not None:
        yield state.memory.groups


def _joined(tensors: Iterable[Tensor]) -> Tensor:
    # Some tensors may be empty, which not every compiler can take.
    return torch.cat([tensor.reshape(-1) for tensor in tensors if tensor.numel()])


def _cut(flat: Tensor, shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    sizes = [math.prod(shape) for shape in shapes]
    pieces = iter(flat.split([size for size in sizes if size]))
    return [
        next(pieces).view(shape) if size else flat.new_zeros(shape)
        for size, shape in zip(sizes, shapes, strict=True)
    ]


def pack_masks(masks: ChunkMasks) -> tuple[Tensor, ...]:
    """All masks as one flat tensor, and with a memory bank the rows it reads, ``[B, P, M, R]``."""
    flat = torch.cat([tensor.reshape(-1) for tensor in _masks(masks)])
    return (flat,) if masks.memory is None else (flat, masks.memory.rows.contiguous())


def unpack_masks(flat: Tensor, rows: Tensor | None, like: ChunkMasks) -> ChunkMasks:
    """The inverse of :func:`pack_masks`, for masks of the same shapes as ``like``."""
    shapes = [tuple(tensor.shape) for tensor in _masks(like)]
    pieces = flat.split([math.prod(shape) for shape in shapes])
    tensors = iter([p.view(shape) for p, shape in zip(pieces, shapes, strict=True)])
    frames: Mapping[int, StackMask] = {
        rate: dataclasses.replace(masks, mask=next(tensors), valid=next(tensors), whole=False)
        for rate, masks in like.frames.items()
    }
    memory = None if rows is None else MemoryMask(rows, next(tensors))
    return ChunkMasks(frames, memory, frames[1].valid)


def _masks(masks: ChunkMasks) -> Iterator[Tensor]:
    for frames in masks.frames.values():
        yield frames.mask
        yield frames.valid
    if masks.memory is not None:
        yield masks.memory.mask
