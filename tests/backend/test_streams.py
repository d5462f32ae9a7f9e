"""Each backend gives what ``forward`` gives, however the audio is cut and whoever began it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from echostream.encoder.stream_state import StreamState
from echostream.errors import StateMismatchError, StreamClosedError
from tests.encoder.small_encoder import INPUT_DIM, largest_difference, noise, push, small_encoder

from .compiled import CHUNKING, CHUNKINGS, NAMES, backends, compiled

pytestmark = pytest.mark.usefixtures("shared_exports")

TOLERANCE = 1e-5
FLOAT = torch.float32

cases = st.tuples(
    st.sampled_from(sorted(CHUNKINGS)),
    st.integers(0, 170),
    st.lists(st.integers(0, 170), max_size=6),
)


def recording(total: int, batch: int = 1) -> Tensor:
    return noise(batch, total, INPUT_DIM, seed=total, dtype=FLOAT)


@pytest.mark.fault("F11")
@backends
@settings(deadline=None, max_examples=40)
@given(case=cases)
def test_any_cuts(backend: str, case: tuple[int, int, list[int]]) -> None:
    """First chunks, full left context, a memory ring that has wrapped, ragged ends."""
    memory, total, places = case
    chunking = CHUNKINGS[memory]
    encoder = compiled(backend, memory)
    features = recording(total)
    expected = small_encoder(memory, FLOAT)(features, **chunking)["encoder_out"]
    cuts = sorted(min(place, total) for place in places)
    y, state = push(encoder, features, cuts, encoder.init_state(**chunking))  # type: ignore[arg-type]
    assert largest_difference(y, expected) < TOLERANCE
    assert state.processed_frames.tolist() == [total // 2]
    # And to the bit the same as in one piece.
    whole, at_once = push(encoder, features, [], encoder.init_state(**chunking))  # type: ignore[arg-type]
    assert torch.equal(y, whole)
    others = dict(at_once.named_tensors())
    for name, tensor in state.named_tensors():
        assert name == "segment_id" or torch.equal(tensor, others[name]), name


@backends
def test_streams_at_different_positions_in_one_batch(backend: str) -> None:
    encoder, torch_encoder = compiled(backend), small_encoder(4, FLOAT)
    sources = [recording(total) for total in (230, 117)]
    before = [100, 5]
    states, outputs = [], []
    for source, start in zip(sources, before, strict=True):
        y, _, state = encoder.step(source[:, :start], encoder.init_state(**CHUNKING))
        states.append(state)
        outputs.append([y[0]])
    joined = StreamState.stack(states)
    block = torch.zeros(2, 130, INPUT_DIM)
    counts = [source.shape[1] - start for source, start in zip(sources, before, strict=True)]
    for row, (source, start) in enumerate(zip(sources, before, strict=True)):
        block[row, : counts[row]] = source[0, start:]
    y, lengths, joined = encoder.step(block, joined, torch.tensor(counts), is_final=True)
    for row, source in enumerate(sources):
        own = torch.cat((*outputs[row], y[row, : int(lengths[row])]))
        expected = torch_encoder(source, **CHUNKING)["encoder_out"][0]
        assert largest_difference(own, expected) < TOLERANCE
        assert not y[row, int(lengths[row]) :].any()


@pytest.mark.fault("F39")
@backends
def test_a_stream_moves_between_backends(backend: str) -> None:
    """From torch to the backend, by its bytes to the other one, and back to torch."""
    first, other = compiled(backend), compiled(NAMES[1 - NAMES.index(backend)])
    torch_encoder = small_encoder(4, FLOAT)
    features = recording(260)
    expected = torch_encoder(features, **CHUNKING)["encoder_out"]
    state, parts = torch_encoder.init_state(**CHUNKING), []
    places = [0, 70, 140, 205, 260]
    for index, encoder in enumerate((torch_encoder, first, other, torch_encoder)):
        data = state.to_bytes(torch_encoder.fingerprint())
        state = StreamState.from_bytes(data, encoder)  # type: ignore[arg-type]
        piece = features[:, places[index] : places[index + 1]]
        y, _, state = encoder.step(piece, state, is_final=index == 3)
        parts.append(y)
    assert largest_difference(torch.cat(parts, dim=1), expected) < TOLERANCE


@pytest.mark.fault("F38")
@backends
def test_stepping_is_pure(backend: str) -> None:
    """Engines write into buffers: neither what was given nor what was returned may change."""
    encoder = compiled(backend)
    state = encoder.step(recording(100), encoder.init_state(**CHUNKING))[2]
    features = recording(64)
    state_copy, features_copy = state.clone(), features.clone()
    y1, _, after1 = encoder.step(features, state)
    y_copy, after_copy = y1.clone(), after1.clone()
    y2, _, after2 = encoder.step(features, state)
    encoder.step(recording(32), after2)
    assert torch.equal(y1, y_copy) and torch.equal(y1, y2)
    for one, two in ((state, state_copy), (after1, after_copy), (after1, after2)):
        others = dict(two.named_tensors())
        assert all(torch.equal(tensor, others[name]) for name, tensor in one.named_tensors())
    assert torch.equal(features, features_copy)


@backends
def test_states_have_the_shapes_of_torch(backend: str) -> None:
    encoder = compiled(backend)
    state = encoder.init_state(**CHUNKING)
    shapes = [(name, t.shape, t.dtype) for name, t in state.named_tensors()]
    after = encoder.step(recording(170), state)[2]
    assert [(name, t.shape, t.dtype) for name, t in after.named_tensors()] == shapes
    assert all(tensor.is_contiguous() for _, tensor in after.named_tensors())
    assert after.nbytes == state.nbytes


@backends
def test_wrong_input_is_refused_as_in_torch(backend: str) -> None:
    encoder = compiled(backend)
    done = encoder.step(recording(40), encoder.init_state(**CHUNKING), is_final=True)[2]
    with pytest.raises(StreamClosedError):
        encoder.step(recording(2), done)
    with pytest.raises(StateMismatchError, match="float64"):
        encoder.step(recording(2).double(), encoder.init_state(**CHUNKING))
    with pytest.raises(StateMismatchError, match="another configuration"):
        encoder.step(recording(2), small_encoder(0, FLOAT).init_state(**CHUNKING))
