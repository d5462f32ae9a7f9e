"""A step reads nothing back from the device: torch's ``meta`` device has nothing to read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from echostream.config import load_config
from echostream.encoder import StreamState
from echostream.model import SpeechModel

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", ["tiny", "streamspeech-tiny"])
@torch.no_grad()
def test_steps_never_wait_for_the_device(name: str, batch: int) -> None:
    model = SpeechModel(load_config(CONFIGS / f"{name}.yaml")).eval()
    encoder = model.encoder
    on_cpu = encoder.init_state(batch)
    encoder.to("meta")
    state = encoder.init_state(batch)
    assert state.device.type == "meta" and on_cpu.to("meta").device.type == "meta"
    frames = 0
    for size, is_final in ((7, False), (90, False), (32, False), (1, False), (30, True)):
        features = torch.zeros(batch, size, 80, device="meta")
        y, lengths, state = encoder.step(features, state, is_final=is_final)
        assert y.device.type == "meta"
        frames += int(lengths[0])
    # 160 feature frames at 50 Hz, and at the 25 Hz of the baseline.
    assert frames == int(state.processed_frames[0]) == (80 if name == "tiny" else 40)
    assert bool(state.finished.all())
    for tensor in (getattr(state, name) for name in state.counters):
        assert tensor.device.type == "cpu"


@torch.no_grad()
def test_streams_that_wait_are_known_without_the_device() -> None:
    model = SpeechModel(load_config(CONFIGS / "tiny.yaml")).eval()
    encoder = model.encoder.to("meta")
    state = encoder.init_state(3)
    features = torch.zeros(3, 40, 80, device="meta")
    lengths, active = torch.tensor([40, 8, 32]), torch.tensor([True, True, False])
    _, given, after = encoder.step(features, state, lengths, active=active)
    assert given.tolist() == [16, 0, 0]
    assert after.segment_id.tolist() == [1, 1, 0]
    assert [len(each.pending) for each in after.unstack()] == [1, 1, 1]
    assert StreamState.stack(after.unstack()).device.type == "meta"
