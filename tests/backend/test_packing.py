"""States and views into flat tensors and back."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest
import torch

from echostream.backend.packing import PackedState, StatePacking, pack_view, unpack_view
from echostream.encoder.call_view import Sight, call_view
from tests.encoder.small_encoder import INPUT_DIM, noise, small_encoder


@pytest.mark.parametrize("memory", [0, 4])
@pytest.mark.parametrize("batch", [1, 3])
def test_state(memory: int, batch: int) -> None:
    encoder = small_encoder(memory, torch.float32)
    features = noise(batch, 100, INPUT_DIM, dtype=torch.float32)
    state = encoder.step(features, encoder.init_state(batch))[2]
    packing = StatePacking.of(state)
    flat = packing.pack(state)
    counters = ("processed_frames", "segment_id", "finished", "pending", "pending_lengths")
    carried = [t for name, t in state.named_tensors() if name not in counters]
    assert torch.equal(flat, torch.cat([t.flatten() for t in carried]))
    emptied = encoder.init_state(batch)
    again = packing.unpack(flat, dataclasses.replace(emptied, segment_id=state.segment_id))
    others = dict(state.named_tensors())
    for name, tensor in again.named_tensors():
        same_as = others if name not in counters or name == "segment_id" else None
        expected = dict(emptied.named_tensors())[name] if same_as is None else same_as[name]
        assert torch.equal(tensor, expected), name


def test_a_packed_state_is_cut_up_only_when_it_must_be() -> None:
    encoder = small_encoder(4, torch.float32)
    state = encoder.init_state(1)
    packing = StatePacking.of(state)
    flat = noise(packing.pack(state).numel(), dtype=torch.float32)
    heard = torch.tensor([16])
    packed = PackedState.of(state, packing, flat, processed_frames=heard)
    moved = packed.replaced(segment_id=torch.tensor([7]))
    assert packing.pack(packed) is packing.pack(moved) is flat
    assert not vars(moved).keys() & {"stem", "stacks", "memory"}
    counted = dataclasses.replace(state, processed_frames=heard, segment_id=torch.tensor([7]))
    expected = dict(packing.unpack(flat, counted).named_tensors())
    found = dict(moved.named_tensors())
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert packing.pack(moved) is flat
    with pytest.raises(AttributeError, match="nonsense"):
        moved.nonsense  # noqa: B018
    for copied in (moved.clone(), copy.deepcopy(packed), pickle.loads(pickle.dumps(packed))):
        assert torch.equal(packing.pack(copied), flat)
        assert copied.batch_size == 1


@pytest.mark.parametrize("how", ["replaced", "replace"])
def test_what_is_put_into_a_packed_state_counts(how: str) -> None:
    encoder = small_encoder(4, torch.float32)
    state = encoder.init_state(1)
    packing = StatePacking.of(state)
    flat, other = (
        noise(packing.pack(state).numel(), seed=seed, dtype=torch.float32) for seed in (0, 1)
    )
    packed = PackedState.of(state, packing, flat)
    memory = packing.unpack(other, state).memory
    mixed = (
        packed.replaced(memory=memory)
        if how == "replaced"
        else dataclasses.replace(packed, memory=memory)
    )
    mixed = mixed.replaced(segment_id=torch.tensor([3]))
    tail = packing.shapes[-1][1] * packing.shapes[-1][2]
    assert torch.equal(packing.pack(mixed), torch.cat((flat[:-tail], other[-tail:])))
    assert packing.pack(packed) is flat


@pytest.mark.parametrize("memory", [0, 2])
def test_view(memory: int) -> None:
    sight = Sight(16, 32, 1, memory, 16)
    view = call_view(torch.tensor([16, 800]), torch.tensor([16, 5]), 1, sight)
    like = call_view(torch.tensor([0, 0]), torch.tensor([16, 16]), 1, sight, whole=True)
    flat, *rows = pack_view(view)
    again = unpack_view(flat, rows[0] if rows else None, like)
    assert again.exists is not None and view.exists is not None
    assert torch.equal(again.exists, view.exists)
    assert again.frames.keys() == view.frames.keys()
    for rate, frames in view.frames.items():
        found = again.frames[rate]
        assert torch.equal(found.mask, frames.mask) and torch.equal(found.exists, frames.exists)
        assert not found.whole
        sizes = (found.chunk, found.left, found.future)
        assert sizes == (frames.chunk, frames.left, frames.future)
    assert (again.memory is None) == (memory == 0)
    if again.memory is not None and view.memory is not None:
        assert torch.equal(again.memory.rows, view.memory.rows)
        assert torch.equal(again.memory.mask, view.memory.mask)
