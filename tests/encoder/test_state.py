"""The state: stepping is pure, its size is constant, streams can be cloned, moved and batched."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from echostream.encoder.state import State
from echostream.encoder.stream_state import StreamState
from echostream.encoder.zipformer import ZipformerEncoder
from echostream.errors import StateMismatchError, StreamClosedError

from .small_encoder import (
    INPUT_DIM,
    largest_difference,
    noise,
    push,
    push_ragged,
    randomise,
    small_config,
    small_encoder,
)

CHUNKING: dict[str, Any] = {"chunk_size": 16, "left_context": 32, "max_future_frames": None}


def equal(a: State, b: State) -> bool:
    others = dict(b.named_tensors())
    return all(torch.equal(tensor, others.pop(name)) for name, tensor in a.named_tensors()) and (
        not others
    )


def advanced(encoder: ZipformerEncoder, frames: int, *, seed: int = 0) -> StreamState:
    """The state of one stream after ``frames`` feature frames."""
    dtype = encoder.stem.norm.bias.dtype
    features = noise(1, frames, INPUT_DIM, seed=seed, dtype=dtype)
    return encoder.step(features, encoder.init_state(**CHUNKING))[2]


@pytest.mark.fault("F38")
@settings(deadline=None, max_examples=40)
@given(st.integers(0, 100), st.integers(0, 80), st.booleans(), st.integers(1, 3))
def test_stepping_is_pure(before: int, new: int, is_final: bool, batch: int) -> None:
    """Twice from one state is equal to the bit, and neither argument is changed."""
    encoder = small_encoder(4)
    first = noise(batch, before, INPUT_DIM, seed=1)
    state = encoder.step(first, encoder.init_state(batch, **CHUNKING))[2]
    features = noise(batch, new, INPUT_DIM, seed=2)
    state_copy, features_copy = state.clone(), features.clone()
    y1, lengths1, after1 = encoder.step(features, state, is_final=is_final)
    y2, lengths2, after2 = encoder.step(features, state, is_final=is_final)
    assert torch.equal(y1, y2) and torch.equal(lengths1, lengths2) and equal(after1, after2)
    assert equal(state, state_copy)
    assert torch.equal(features, features_copy)
    assert not y1.requires_grad


def test_writing_into_outputs_does_not_reach_back() -> None:
    """Neither the features nor the output share memory with the state that is kept."""
    encoder = small_encoder(4)
    features = noise(1, 70, INPUT_DIM)
    y, _, state = encoder.step(features, encoder.init_state(**CHUNKING))
    before = state.clone()
    features.fill_(9.0)
    y.fill_(9.0)
    assert equal(state, before)


def test_clone_shares_nothing() -> None:
    state = advanced(small_encoder(4), 77)
    copy = state.clone()
    pointers = {t.untyped_storage().data_ptr() for _, t in state.named_tensors() if t.numel()}
    assert equal(state, copy)
    assert not any(
        t.untyped_storage().data_ptr() in pointers for _, t in copy.named_tensors() if t.numel()
    )


@pytest.mark.fault("F17")
@pytest.mark.parametrize("batch", [1, 3])
def test_size_is_constant(batch: int) -> None:
    encoder = small_encoder(4)
    state = encoder.init_state(batch, **CHUNKING)
    shapes = [(name, t.shape, t.dtype) for name, t in state.named_tensors()]
    size = state.nbytes
    for k, new in enumerate((0, 1, 31, 32, 33, 200, 5, 400)):
        _, _, state = encoder.step(noise(batch, new, INPUT_DIM, seed=k), state, is_final=k == 7)
        assert [(name, t.shape, t.dtype) for name, t in state.named_tensors()] == shapes
        assert state.nbytes == size
        assert all(t.is_contiguous() for _, t in state.named_tensors())


@pytest.mark.parametrize(
    "batch",
    [
        1,
        3,
    ],
)
def test_holds_no_more_memory_than_it_says(batch: int) -> None:
    """A view of a larger tensor would keep all of it alive."""
    encoder = small_encoder(4)
    features = noise(batch, 203, INPUT_DIM)
    _, _, state = encoder.step(features, encoder.init_state(batch, **CHUNKING))
    storages = {
        t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()
        for _, t in state.named_tensors()
        if t.numel()
    }
    assert sum(storages.values()) == state.nbytes


def test_the_queue_holds_what_waits_and_zeros() -> None:
    """Also after the end, when an odd last frame has been dropped."""
    encoder = small_encoder(4)
    features = noise(1, 77, INPUT_DIM)
    _, _, state = encoder.step(features, encoder.init_state(**CHUNKING))
    assert state.pending_lengths.tolist() == [77 - 64]
    assert torch.equal(state.pending[:, :13], features[:, 64:])
    assert not state.pending[:, 13:].any()
    _, _, state = encoder.step(features[:, :0], state, is_final=True)
    assert state.pending_lengths.tolist() == [0]
    assert not state.pending.any()


def test_conversion_keeps_counters_whole() -> None:
    state = advanced(small_encoder(4, torch.float32), 77)
    wide = state.to(dtype=torch.float64)
    for name, tensor in wide.named_tensors():
        counter = name in ("processed_frames", "segment_id", "pending_lengths")
        assert tensor.dtype == (
            torch.int64 if counter else torch.bool if name == "finished" else torch.float64
        )
    assert equal(state, wide.to(dtype=torch.float32))
    assert equal(state, state.to("cpu"))
    assert equal(state, state.to())


def test_stream_goes_on_in_another_precision() -> None:
    features = noise(1, 150, INPUT_DIM)
    expected = small_encoder(4)(features, **CHUNKING)["encoder_out"]
    state = advanced_with(small_encoder(4, torch.float32), features[:, :80].float())
    y, _, _ = small_encoder(4).step(features[:, 80:], state.to(dtype=torch.float64), is_final=True)
    assert largest_difference(y, expected[:, 32:]) < 1e-5


def advanced_with(encoder: ZipformerEncoder, features: Tensor) -> StreamState:
    return encoder.step(features, encoder.init_state(features.shape[0], **CHUNKING))[2]


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 120), st.integers(0, 60)), min_size=1, max_size=4),
    st.sampled_from((torch.float32, torch.float64)),
)
def test_streams_at_different_positions_in_one_batch(
    streams: list[tuple[int, int]], dtype: torch.dtype
) -> None:
    """Each heard something alone, all go on together, and again alone: as if always alone."""
    encoder = small_encoder(4, dtype)
    alone_again = 21
    sources = [
        noise(before + together + alone_again, INPUT_DIM, seed=b, dtype=dtype)
        for b, (before, together) in enumerate(streams)
    ]
    outputs, states = [], []
    for source, (before, _) in zip(sources, streams, strict=True):
        y, _, state = encoder.step(source[None, :before], encoder.init_state(**CHUNKING))
        outputs.append([y[0]])
        states.append(state)
    plan = [[together for _, together in streams]]
    rest = [source[before:] for source, (before, _) in zip(sources, streams, strict=True)]
    joined = StreamState.stack(states)
    assert joined.batch_size == len(streams)
    parts, joined = push_ragged(encoder, rest, plan, joined, is_final=False)
    for b, (part, state) in enumerate(zip(parts, joined.unstack(), strict=True)):
        assert state.batch_size == 1
        y, _, state = encoder.step(sources[b][None, -alone_again:], state, is_final=True)
        outputs[b] += [part, y[0]]
        assert state.processed_frames.tolist() == [sources[b].shape[0] // 2]
        expected = encoder(sources[b][None], **CHUNKING)["encoder_out"][0]
        assert largest_difference(torch.cat(outputs[b]), expected) < 1e-5


def test_stack_and_unstack_are_inverse() -> None:
    states = [advanced(small_encoder(4), frames, seed=frames) for frames in (0, 33, 100)]
    again = StreamState.stack(states).unstack()
    assert all(equal(a, b) for a, b in zip(states, again, strict=True))
    pair = StreamState.stack([StreamState.stack(states[:2]), states[2]])
    assert equal(pair, StreamState.stack(states))


def test_stacking_a_finished_stream() -> None:
    """It stays finished and silent while the other goes on undisturbed."""
    encoder = small_encoder(4)
    done = encoder.step(noise(1, 51, INPUT_DIM), encoder.init_state(**CHUNKING), is_final=True)[2]
    source = noise(1, 90, INPUT_DIM, seed=3)
    both = StreamState.stack([done, advanced_with(encoder, source[:, :40])])
    block = torch.cat((torch.zeros(1, 50, INPUT_DIM), source[:, 40:]))
    y, lengths, both = encoder.step(block, both, torch.tensor([0, 50]))
    assert lengths.tolist() == [0, 16]
    expected = encoder(source, **CHUNKING)["encoder_out"]
    assert largest_difference(y[1], expected[0, 16:32]) < 1e-10
    assert both.finished.tolist() == [True, False]
    assert both.processed_frames.tolist() == [25, 32]
    with pytest.raises(StreamClosedError):
        encoder.step(block, both, torch.tensor([1, 0]))


@pytest.mark.parametrize(
    "other",
    [
        {"chunk_size": 8},
        {"left_context": 8},
        {"max_future_frames": 0},
    ],
)
def test_stacking_other_chunkings_is_refused(other: dict[str, Any]) -> None:
    encoder = small_encoder(4)
    states = [encoder.init_state(**CHUNKING), encoder.init_state(**(CHUNKING | other))]
    with pytest.raises(StateMismatchError, match=r"state 1 .*expected"):
        StreamState.stack(states)


@pytest.mark.parametrize(
    "changes",
    [
        {"embed_dim": (16, 24, 32, 48, 32, 24)},
        {"memory_segment": 24},
        {"memory_size": 0},
        {"num_layers_per_stack": 2},
        {"num_layers_per_stack": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("reverse", [False, True])
def test_stacking_states_of_other_encoders_is_refused(
    changes: dict[str, Any], reverse: bool
) -> None:
    other = ZipformerEncoder.from_config(small_config(**changes))
    states = [
        small_encoder(4, torch.float32).init_state(**CHUNKING),
        other.init_state(**CHUNKING),
    ]
    with pytest.raises(StateMismatchError):
        StreamState.stack(states[::-1] if reverse else states)


def test_stacking_nothing_is_refused() -> None:
    with pytest.raises(StateMismatchError, match="empty"):
        StreamState.stack([])


def test_push_after_finish_is_refused() -> None:
    encoder = small_encoder(4)
    _, _, state = encoder.step(
        noise(1, 40, INPUT_DIM), encoder.init_state(**CHUNKING), is_final=True
    )
    for frames in (1, 32):
        with pytest.raises(StreamClosedError, match="finished"):
            encoder.step(noise(1, frames, INPUT_DIM), state)
    # An empty push, also one that says "final" again, adds nothing and is harmless.
    y, lengths, again = encoder.step(noise(1, 0, INPUT_DIM), state, is_final=True)
    assert y.shape == (1, 0, 40) and lengths.tolist() == [0]
    assert again.finished.tolist() == [True]


@pytest.mark.parametrize("shape", [(5,), (40, INPUT_DIM), (1, 40, 6), (1, 1, 40, INPUT_DIM)])
def test_wrong_feature_shapes_are_refused(shape: tuple[int, ...]) -> None:
    encoder = small_encoder(4)
    with pytest.raises(StateMismatchError, match=r"expected \[batch, frames, 5\]"):
        encoder(noise(*shape))
    with pytest.raises(StateMismatchError, match=r"expected \[batch, frames, 5\]"):
        encoder.step(noise(*shape), encoder.init_state())


def test_wrong_batch_is_refused() -> None:
    encoder = small_encoder(4)
    with pytest.raises(StateMismatchError, match="2 streams.*3"):
        encoder.step(noise(3, 10, INPUT_DIM), encoder.init_state(2))


WRONG_LENGTHS = [[11], [-1], [5, 5], []]


@pytest.mark.parametrize("lengths", WRONG_LENGTHS, ids=str)
def test_wrong_lengths_are_refused(lengths: list[int]) -> None:
    """One stream with 10 frames: more than there are, fewer than none, of another batch."""
    encoder = small_encoder(4)
    features, wrong = noise(1, 10, INPUT_DIM), torch.tensor(lengths, dtype=torch.int64)
    with pytest.raises(StateMismatchError):
        encoder.step(features, encoder.init_state(**CHUNKING), wrong)
    with pytest.raises(StateMismatchError):
        encoder(features, wrong)


@pytest.mark.parametrize(
    "changes",
    [
        {"embed_dim": (16, 24, 32, 48, 32, 24)},
        {"memory_size": 0},
        {"num_layers_per_stack": 2},
        {"input_dim": 6},
    ],
    ids=str,
)
def test_stepping_from_a_state_of_another_encoder_is_refused(changes: dict[str, Any]) -> None:
    encoder = small_encoder(4, torch.float32)
    other = ZipformerEncoder.from_config(small_config(**changes))
    with pytest.raises(StateMismatchError):
        encoder.step(noise(1, 40, INPUT_DIM, dtype=torch.float32), other.init_state(**CHUNKING))


def test_features_of_another_precision_are_refused() -> None:
    encoder = small_encoder(4, torch.float32)
    with pytest.raises(StateMismatchError):
        encoder.step(noise(1, 40, INPUT_DIM), encoder.init_state(**CHUNKING))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("way", ["forward", "step"])
def test_padding_may_hold_anything(way: str, value: float) -> None:
    """What stands after a recording's length is not read, whatever it is."""
    encoder = small_encoder(4)
    sources = noise(2, 60, INPUT_DIM)
    expected = encoder(sources[1:, :41], **CHUNKING)["encoder_out"][0]
    sources[1, 41:] = value
    lengths = torch.tensor([60, 41])
    if way == "forward":
        y = encoder(sources, lengths, **CHUNKING)["encoder_out"]
    else:
        state = encoder.init_state(2, **CHUNKING)
        y, _, _ = encoder.step(sources, state, lengths, is_final=True)
    assert largest_difference(y[1, :20], expected) < 1e-10
    assert not y[1, 20:].any()


@pytest.mark.fault("F16")
def test_nothing_leaks_into_the_next_stream() -> None:
    """NaN features spoil their own stream only: not the batch mate, not a new stream."""
    encoder = small_encoder(4)
    sources = noise(2, 90, INPUT_DIM)
    expected = encoder(sources[1:], **CHUNKING)["encoder_out"][0]
    sources[0, 3] = float("nan")
    y, _, _ = encoder.step(sources, encoder.init_state(2, **CHUNKING), is_final=True)
    assert largest_difference(y[1], expected) < 1e-10
    fresh, _ = push(encoder, sources[1:], [13], encoder.init_state(**CHUNKING))
    assert largest_difference(fresh[0], expected) < 1e-10


def test_state_keeps_no_graph() -> None:
    """A stream through an encoder in training does not grow an autograd graph."""
    encoder = ZipformerEncoder.from_config(small_config())
    randomise(encoder)
    encoder.eval()
    y, _, state = encoder.step(noise(1, 80, INPUT_DIM).float(), encoder.init_state(**CHUNKING))
    assert not y.requires_grad
    assert not any(t.requires_grad for _, t in state.named_tensors())
    assert encoder(noise(1, 80, INPUT_DIM).float())["encoder_out"].requires_grad
