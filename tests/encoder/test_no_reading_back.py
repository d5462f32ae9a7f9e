"""A step reads nothing back from the device: torch's ``meta`` device has nothing to read."""

from __future__ import annotations

import copy

import pytest
import torch

from .subjects import SUBJECTS, Subject, subjects, unit_of

FLOAT = torch.float32


@pytest.mark.parametrize("batch", [1, 3])
@subjects
@torch.no_grad()
def test_steps_never_wait_for_the_device(subject: Subject, batch: int) -> None:
    encoder = copy.deepcopy(subject.make(FLOAT))
    on_cpu = encoder.init_state(batch)
    encoder.to("meta")
    state = encoder.init_state(batch)
    assert state.device.type == "meta" and on_cpu.to("meta").device.type == "meta"
    frames = 0
    for size, is_final in ((7, False), (90, False), (32, False), (1, False), (30, True)):
        features = torch.zeros(batch, size, encoder.input_dim, device="meta")
        y, lengths, state = encoder.step(features, state, is_final=is_final)
        assert y.device.type == "meta"
        frames += int(lengths[0])
    assert frames == int(state.processed_frames[0]) == 160 // unit_of(encoder)
    assert bool(state.finished.all())
    for tensor in (getattr(state, name) for name in state.counters):
        assert tensor.device.type == "cpu"


@torch.no_grad()
def test_streams_that_wait_are_known_without_the_device() -> None:
    encoder = copy.deepcopy(SUBJECTS["zipformer"].make(FLOAT)).to("meta")
    state = encoder.init_state(3)
    features = torch.zeros(3, 40, encoder.input_dim, device="meta")
    lengths, active = torch.tensor([40, 8, 32]), torch.tensor([True, True, False])
    _, given, after = encoder.step(features, state, lengths, active=active)
    assert given.tolist() == [16, 0, 0]
    assert after.segment_id.tolist() == [1, 1, 0]
    assert [len(each.pending) for each in after.unstack()] == [1, 1, 1]
    assert type(after).stack(after.unstack()).device.type == "meta"
