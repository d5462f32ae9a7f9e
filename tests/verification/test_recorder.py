"""Outputs of modules, cut and joined in time."""

from __future__ import annotations

import pytest
import torch

from echostream.encoder.state import State
from echostream.verification.recorder import (
    Recorder,
    by_frame,
    calls_of,
    joined,
    watched_modules,
)
from echostream.verification.subjects import state_frames
from tests.encoder.small_encoder import INPUT_DIM, noise, small_encoder


def test_calls_of_a_step() -> None:
    assert calls_of((40, 3, 0), 16) == [(16, 3, 0), (16, 0, 0), (8, 0, 0)]
    assert calls_of((16,), 16) == [(16,)]
    assert calls_of((0, 0), 16) == []
    assert calls_of((), 16) == []


def test_attention_weights_are_put_in_the_order_of_time() -> None:
    batch, chunks, heads, frames, width = 2, 3, 4, 5, 7
    weights = torch.arange(batch * chunks * heads * frames * width, dtype=torch.float32)
    weights = weights.view(batch * chunks, heads, frames, width)
    rows = by_frame((True, weights), batch)
    assert rows.shape == (batch, chunks * frames, heads * width)
    # Frame 2 of chunk 1 of stream 1.
    expected = weights[1 * chunks + 1, :, 2].flatten()
    assert torch.equal(rows[1, 1 * frames + 2], expected)


def test_a_module_gives_each_stream_its_own_frames() -> None:
    """At 6.25 Hz two chunks of 16 and a rest of 9 encoder frames are 2 + 2 + 2 frames."""
    encoder = small_encoder(4)
    features = noise(1, 2 * (16 + 16 + 9), INPUT_DIM)
    state = encoder.init_state(chunk_size=16)
    with Recorder(encoder) as recorder:
        _, lengths, _ = encoder.step(features, state, is_final=True)
        frames = recorder.take(calls_of(lengths.tolist(), 16))
        assert recorder.take([]) == {}
    counts = {name: len(rows[0]) for name, rows in frames.items()}
    assert list(frames) == list(watched_modules(encoder))
    assert (counts["stem"], counts["stacks.0"], counts["memory"]) == (41, 41, 41)
    assert counts["stacks.1.downsample"] == counts["stacks.1.layers.1.norm"] == 21
    assert counts["stacks.3.layers.0.convolution1"] == 6
    assert counts["stacks.3"] == 41
    # Afterwards nothing is recorded.
    encoder.step(features, state, is_final=True)
    assert recorder.take([]) == {}


def test_a_module_that_was_not_called_as_often_is_noticed() -> None:
    encoder = small_encoder(4)
    with Recorder(encoder) as recorder:
        encoder.step(noise(1, 64, INPUT_DIM), encoder.init_state(chunk_size=16))
        with pytest.raises(RuntimeError, match="stem was called 2 times; expected 1"):
            recorder.take([(16,)])


def test_every_module_with_a_state_is_watched() -> None:
    """What a layer carries on belongs to a module whose output is compared."""
    owners = {
        "keys": "attention_weights",
        "nonlinear_values": "nonlinear_attention",
        "values1": "self_attention1",
        "values2": "self_attention2",
        "conv1": "convolution1",
        "conv2": "convolution2",
    }
    encoder = small_encoder(4)
    watched = watched_modules(encoder)
    state = encoder.init_state()
    carried = [name for name, _ in state.named_tensors() if name.startswith("stacks.")]
    for name in carried:
        layer, _, field = name.rpartition(".")
        assert f"{layer}.{owners[field]}" in watched, name
    assert len(carried) == 6 * 7
    assert {"stem", "memory"} < set(watched)


def test_carried_tensors_are_in_the_order_of_computation() -> None:
    state: State = small_encoder(4).init_state(2)
    names = list(state_frames(state))
    assert names.index("state.processed_frames") < names.index("state.stem.features")
    layer = [
        name.rpartition(".")[2] for name in names if name.startswith("state.stacks.1.layers.1")
    ]
    assert layer == ["keys", "nonlinear_values", "values1", "conv1", "values2", "conv2"]
    assert names[-1] == "state.memory.groups"
    assert "state.segment_id" not in names
    assert all(len(rows) == 2 for rows in state_frames(state).values())


def test_joined_parts() -> None:
    one, two = torch.ones(2, 3), torch.zeros(1, 3)
    whole = joined([{"stem": (one, two)}, {}, {"stem": (two, one), "memory": (one, one)}])
    assert [len(rows) for rows in whole["stem"]] == [3, 3]
    assert torch.equal(whole["stem"][0], torch.cat((one, two)))
    assert list(whole) == ["stem", "memory"]
