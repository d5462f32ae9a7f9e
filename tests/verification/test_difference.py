"""Outputs of modules, cut and joined in time; what counts as a difference, and which is first."""

import math

import pytest
import torch

from echostream.encoder.state import State
from echostream.verification.certificate import (
    Certificate,
    ScenarioResult,
    System,
    format_certificate,
    layer_of,
)
from echostream.verification.difference import Difference, Tally, largest_of
from echostream.verification.recorder import (
    Recorder,
    by_frame,
    calls_of,
    watched_modules,
)
from echostream.verification.subjects import state_frames
from tests.encoder.small_encoder import INPUT_DIM, noise, small_encoder


def tallied(streamed: list[float], offline: list[float], module: str = "encoder") -> Difference:
    tally = Tally(1e-5)
    tally.trial = 3
    as_frames = [torch.tensor(values)[:, None] for values in (streamed, offline)]
    tally.add({module: (as_frames[0],)}, {module: (as_frames[1],)})
    (difference,) = tally.differences
    return difference


def test_the_first_frame_that_differs_is_told() -> None:
    difference = tallied([0.0, 0.5, 0.25, 1.0], [0.0, 0.5, 0.5, 0.0])
    assert (difference.largest, difference.scale, difference.frames) == (1.0, 0.5, 4)
    assert (difference.first_frame, difference.trial) == (2, 3)
    assert difference.share == pytest.approx(1e5)
    assert difference.breaks


@pytest.mark.parametrize(
    ("module", "scale", "difference", "breaks"),
    [
        ("encoder", 0.5, 0.9e-5, False),
        ("encoder", 0.5, 1.1e-5, True),
        # In proportion to values beyond 1.
        ("encoder", 20.0, 19e-5, False),
        ("encoder", 20.0, 21e-5, True),
        # A hundred times as much inside.
        ("stacks.0.layers.0.attention_weights", 1.0, 9e-4, False),
        ("stacks.0.layers.0.attention_weights", 1.0, 11e-4, True),
        ("st_head", 1.0, 9e-5, True),
    ],
)
def test_rounding_is_allowed_in_proportion(
    module: str, scale: float, difference: float, breaks: bool
) -> None:
    tally = Tally(1e-5)
    offline = torch.tensor([[scale], [0.0]], dtype=torch.float64)
    streamed = offline + torch.tensor([[0.0], [difference]], dtype=torch.float64)
    tally.add({module: (streamed,)}, {module: (offline,)})
    assert tally.differences[0].breaks == breaks


def test_each_trial_is_judged_by_its_own_scale() -> None:
    """A loud recording does not excuse a fault in a silent one."""
    tally = Tally(1e-5)
    for tally.trial, value in enumerate((1000.0, 0.1)):
        offline = torch.full((2, 1), value, dtype=torch.float64)
        tally.add({"stem": (offline + 0.01,)}, {"stem": (offline,)})
    (difference,) = tally.differences
    assert difference.breaks
    assert difference.trial == 1


@pytest.mark.parametrize(("difference", "breaks"), [(7.9e-5, False), (8.1e-5, True)])
def test_stream_and_offline_may_be_as_far_from_the_exact_result(
    difference: float, breaks: bool
) -> None:
    """On either side of it; a module without a measured rounding has its tolerance only."""
    tally = Tally(1e-5)
    offline = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    streamed = offline + torch.tensor([[0.0], [difference]], dtype=torch.float64)
    both = {name: (streamed,) for name in ("encoder", "st_head")}
    tally.add(both, dict.fromkeys(both, (offline,)), {"encoder": 4e-5})
    encoder, head = tally.differences
    assert encoder.breaks == breaks
    assert head.breaks


@pytest.mark.parametrize("values", [[math.nan], [math.inf]])
@pytest.mark.parametrize("both", [True, False])
def test_what_is_not_finite_breaks(values: list[float], both: bool) -> None:
    difference = tallied([0.0, *values], [0.0, *(values if both else [1.0])])
    assert difference.breaks
    assert difference.first_frame == 1


def test_other_numbers_of_frames_break() -> None:
    difference = tallied([0.0, 0.0], [0.0])
    assert difference.breaks
    assert difference.problem == "(2, 1) in the stream, (1, 1) offline"


def test_a_module_that_the_stream_lacks_breaks() -> None:
    tally = Tally(1e-5)
    tally.add({}, {"stem": (torch.zeros(1, 1),)})
    assert tally.differences[0].breaks


def test_no_frames_are_no_difference() -> None:
    difference = tallied([], [])
    assert (difference.frames, difference.breaks) == (0, False)


def test_modules_of_several_tallies_stay_in_order() -> None:
    encoder = tuple(Difference(name) for name in ("stem", "memory", "state.x", "encoder"))
    agent = tuple(Difference(name) for name in ("front_end", "stem", "memory", "encoder", "words"))
    names = [difference.module for difference in largest_of((encoder, agent))]
    assert names == ["front_end", "stem", "memory", "state.x", "encoder", "words"]


def result(scenario: str, *differences: Difference) -> ScenarioResult:
    return ScenarioResult("torch", "float32", scenario, 1, 1e-5, differences, 0.1)


def certificate(*results: ScenarioResult) -> Certificate:
    system = System("name", True, "zipformer", 7, "c" * 64, "w" * 64)
    return Certificate(system, {"seed": 0}, {}, {}, results, (), 1.0)


def test_the_first_module_is_named_where_it_differs_most() -> None:
    good, late = Difference("stem", frames=4), Difference("memory", 1.0, 1.0, 9.0, 4, 0, 2)
    early = Difference("stacks.1", 0.1, 1.0, 2.0, 4, 0, 3)
    worse = Difference("stacks.1", 0.2, 1.0, 4.0, 4, 1, 1)
    found = certificate(
        result("one", good, late), result("two", good, early, late), result("three", worse)
    )
    assert found.first_break is not None
    assert (found.first_break.scenario, found.first_break.difference) == ("three", worse)
    assert not found.equal
    text = format_certificate(found)
    assert "NOT EQUAL: stacks.1 is the first module that breaks: differs by 0.2" in text
    assert "from its frame 1 (torch float32, three, trial 1)" in text


def test_nothing_compared_is_not_equal() -> None:
    assert not certificate().equal
    assert not certificate(result("one")).equal
    assert "NOT EQUAL: nothing was compared" in format_certificate(certificate(result("one")))


@pytest.mark.parametrize(
    ("module", "layer"),
    [
        ("stacks.1.layers.0.norm", "stacks.1.layers.0"),
        ("stacks.1.layers.0", "stacks.1.layers.0"),
        ("stacks.1.downsample", "stacks.1.downsample"),
        ("conformer_layers.11.ffn1", "conformer_layers.11"),
        ("state.stacks.0.layers.0.keys", "state"),
        ("encoder", "encoder"),
    ],
)
def test_layers(module: str, layer: str) -> None:
    assert layer_of(module) == layer


def test_calls_of_a_step() -> None:
    assert calls_of((40, 3, 0), 16) == [(16, 3, 0), (16, 0, 0), (8, 0, 0)]
    assert calls_of((0, 0), 16) == calls_of((), 16) == []


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
