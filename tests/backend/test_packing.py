"""States and masks into flat tensors and back."""

import copy
import dataclasses
import pickle

import pytest
import torch
from torch import Tensor

from echostream.backend.packing import (
    PackedState,
    StatePacking,
    after_chunk,
    pack_masks,
    unpack_masks,
)
from echostream.encoder.chunk_masks import MaskSettings, chunk_masks
from echostream.encoder.stream_state import StreamState
from tests.encoder.small_encoder import equal, noise, small_encoder

COUNTERS = ("processed_frames", "segment_id", "finished", "pending", "pending_lengths")
CHUNKINGS = {"blocks": (16, 64), "one block": (24, 64), "many": (8, 256), "none": (16, 0)}


def noisy_state(batch: int, memory: int, chunking: str, seed: int = 0) -> StreamState:
    encoder = small_encoder(memory, torch.float32)
    chunk, left = CHUNKINGS[chunking]
    draw = iter(range(100 * seed, 10_000))
    return encoder.init_state(batch, chunk_size=chunk, left_context=left).map(
        lambda name, tensor: (
            tensor
            if name in COUNTERS
            else noise(*tensor.shape, seed=next(draw), dtype=torch.float32)
        )
    )


@pytest.mark.parametrize("chunking", CHUNKINGS)
@pytest.mark.parametrize(("batch", "memory"), [(1, 4), (3, 4), (2, 0)])
def test_a_state_comes_out_as_it_went_in(batch: int, memory: int, chunking: str) -> None:
    state = noisy_state(batch, memory, chunking)
    packing = StatePacking.of(state)
    packed = packing.pack(state)
    assert len(packed) == 1 + {"blocks": 4, "one block": 1, "many": 1, "none": 0}[chunking]
    carried = sum(t.numel() for name, t in state.named_tensors() if name not in COUNTERS)
    assert sum(part.numel() for part in packed) == carried
    assert len({part.shape for part in packed[1:]}) <= 1
    emptied = dataclasses.replace(
        noisy_state(batch, memory, chunking, seed=1), segment_id=state.segment_id + 7
    )
    assert equal(
        packing.unpack(packed, emptied), dataclasses.replace(state, segment_id=emptied.segment_id)
    )


@pytest.mark.parametrize("chunking", CHUNKINGS)
def test_what_a_chunk_leaves_makes_the_next_state(chunking: str) -> None:
    """Every past moves on by a chunk, and the rest is another."""
    state, other = noisy_state(2, 4, chunking), noisy_state(2, 4, chunking, seed=1)
    packing = StatePacking.of(state)
    chunk, left = CHUNKINGS[chunking]

    def moved(name: str, tensor: Tensor) -> Tensor:
        new = dict(other.named_tensors())[name]
        if not any(past in name for past in ("keys", "values")):
            return new
        frames = tensor.shape[1] * chunk // left if left else 0
        return torch.cat((tensor[:, frames:], new[:, tensor.shape[1] - frames :]), dim=1)

    expected = state.map(moved)
    packed = after_chunk(packing.pack(state), packing.pack_new(expected))
    assert equal(packing.unpack(packed, state), expected)
    before = packing.pack(state)
    if chunking == "blocks":  # Nothing is moved.
        again = after_chunk(before, packing.pack_new(expected))
        assert all(one is two for one, two in zip(again[1:-1], before[2:], strict=True))


def test_a_packed_state_is_cut_up_only_when_it_must_be() -> None:
    state = noisy_state(1, 4, "blocks")
    packing = StatePacking.of(state)
    packed = packing.pack(noisy_state(1, 4, "blocks", seed=1))
    heard = torch.tensor([16])
    held = PackedState.of(state, packing, packed, processed_frames=heard)
    moved = held.replaced(segment_id=torch.tensor([7]))
    assert packing.pack(held) is packing.pack(moved) is packed
    assert not vars(moved).keys() & {"stem", "stacks", "memory"}
    counted = dataclasses.replace(state, processed_frames=heard, segment_id=torch.tensor([7]))
    assert equal(moved, packing.unpack(packed, counted))
    assert packing.pack(moved) is packed
    with pytest.raises(AttributeError, match="nonsense"):
        moved.nonsense  # noqa: B018
    for copied in (moved.clone(), copy.deepcopy(held), pickle.loads(pickle.dumps(held))):
        again = packing.pack(copied)
        assert all(torch.equal(one, two) for one, two in zip(again, packed, strict=True))
        assert copied.batch_size == 1


@pytest.mark.parametrize("how", ["replaced", "replace"])
def test_what_is_put_into_a_packed_state_counts(how: str) -> None:
    state, other = noisy_state(1, 4, "blocks"), noisy_state(1, 4, "blocks", seed=1)
    packing = StatePacking.of(state)
    held = PackedState.of(state, packing, packing.pack(state))
    mixed = (
        held.replaced(memory=other.memory)
        if how == "replaced"
        else dataclasses.replace(held, memory=other.memory)
    )
    mixed = mixed.replaced(segment_id=torch.tensor([3]))
    expected = dataclasses.replace(state, memory=other.memory, segment_id=torch.tensor([3]))
    assert equal(packing.unpack(packing.pack(mixed), mixed), expected)
    assert equal(packing.unpack(packing.pack(held), held), state)


@pytest.mark.parametrize("memory", [0, 2])
def test_view(memory: int) -> None:
    settings = MaskSettings(16, 32, 1, memory, 16)
    masks = chunk_masks(torch.tensor([16, 800]), torch.tensor([16, 5]), 1, settings)
    like = chunk_masks(torch.tensor([0, 0]), torch.tensor([16, 16]), 1, settings, whole=True)
    flat, *rows = pack_masks(masks)
    again = unpack_masks(flat, rows[0] if rows else None, like)
    assert again.valid is not None and masks.valid is not None
    assert torch.equal(again.valid, masks.valid)
    assert again.frames.keys() == masks.frames.keys()
    for rate, frames in masks.frames.items():
        found = again.frames[rate]
        assert torch.equal(found.mask, frames.mask) and torch.equal(found.valid, frames.valid)
        assert not found.whole
        sizes = (found.chunk, found.left, found.future)
        assert sizes == (frames.chunk, frames.left, frames.future)
    assert (again.memory is None) == (memory == 0)
    if again.memory is not None and masks.memory is not None:
        assert torch.equal(again.memory.rows, masks.memory.rows)
        assert torch.equal(again.memory.mask, masks.memory.mask)
