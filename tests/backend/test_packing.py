"""States and views into flat tensors and back."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from echostream.backend.packing import StatePacking, pack_view, unpack_view
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


def test_what_was_unpacked_is_not_copied_again() -> None:
    """Unless something else has been put in its place since."""
    encoder = small_encoder(4, torch.float32)
    state = encoder.init_state(1)
    packing = StatePacking.of(state)
    flat = noise(packing.pack(state).numel(), dtype=torch.float32)
    unpacked = packing.unpack(flat, state)
    assert packing.pack(unpacked) is flat
    assert torch.equal(packing.pack(unpacked.clone()), flat)
    other = noise(len(flat), seed=1, dtype=torch.float32)
    mixed = dataclasses.replace(unpacked, memory=packing.unpack(other, state).memory)
    tail = packing.shapes[-1][1] * packing.shapes[-1][2]
    assert torch.equal(packing.pack(mixed), torch.cat((flat[:-tail], other[-tail:])))
    longer = torch.cat((flat, other))
    assert torch.equal(packing.pack(packing.unpack(longer[: len(flat)], state)), flat)


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
