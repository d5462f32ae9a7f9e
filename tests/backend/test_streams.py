"""OpenVINO gives what ``forward`` gives, however the audio is cut and whoever began it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from echostream.encoder.stream_state import StreamState
from echostream.errors import StateMismatchError, StreamClosedError
from tests.encoder.small_encoder import (
    INPUT_DIM,
    equal,
    largest_difference,
    noise,
    push,
    small_encoder,
)

from .compiled import CHUNKING, CHUNKINGS, compiled

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
@settings(deadline=None, max_examples=40)
@given(case=cases)
def test_any_cuts(case: tuple[int, int, list[int]]) -> None:
    """First chunks, full left context, a memory ring that has wrapped, ragged ends."""
    memory, total, places = case
    chunking = CHUNKINGS[memory]
    encoder = compiled(memory)
    features = recording(total)
    expected = small_encoder(memory, FLOAT)(features, **chunking)["encoder_out"]
    cuts = sorted(min(place, total) for place in places)
    y, state = push(encoder, features, cuts, encoder.init_state(**chunking))  # type: ignore[arg-type]
    assert largest_difference(y, expected) < TOLERANCE
    assert state.processed_frames.tolist() == [total // 2]
    # And to the bit the same as in one piece.
    whole, at_once = push(encoder, features, [], encoder.init_state(**chunking))  # type: ignore[arg-type]
    assert torch.equal(y, whole)
    assert equal(state, at_once, but="segment_id")


@pytest.mark.fault("F39")
def test_a_stream_moves_between_backends() -> None:
    """From torch to the backend, by its bytes, back to torch, and once more."""
    graph = compiled()
    torch_encoder = small_encoder(4, FLOAT)
    features = recording(260)
    expected = torch_encoder(features, **CHUNKING)["encoder_out"]
    state, parts = torch_encoder.init_state(**CHUNKING), []
    places = [0, 70, 140, 205, 260]
    for index, encoder in enumerate((torch_encoder, graph, torch_encoder, graph)):
        data = state.to_bytes(torch_encoder.fingerprint())
        state = StreamState.from_bytes(data, encoder)  # type: ignore[arg-type]
        piece = features[:, places[index] : places[index + 1]]
        y, _, state = encoder.step(piece, state, is_final=index == 3)
        parts.append(y)
    assert largest_difference(torch.cat(parts, dim=1), expected) < TOLERANCE


def test_states_have_the_shapes_of_torch() -> None:
    encoder = compiled()
    state = encoder.init_state(**CHUNKING)
    shapes = [(name, t.shape, t.dtype) for name, t in state.named_tensors()]
    after = encoder.step(recording(170), state)[2]
    assert [(name, t.shape, t.dtype) for name, t in after.named_tensors()] == shapes
    assert all(tensor.is_contiguous() for _, tensor in after.named_tensors())
    assert after.nbytes == state.nbytes


def test_wrong_input_is_refused_as_in_torch() -> None:
    encoder = compiled()
    done = encoder.step(recording(40), encoder.init_state(**CHUNKING), is_final=True)[2]
    with pytest.raises(StreamClosedError):
        encoder.step(recording(2), done)
    with pytest.raises(StateMismatchError, match="float64"):
        encoder.step(recording(2).double(), encoder.init_state(**CHUNKING))
    with pytest.raises(StateMismatchError, match="another configuration"):
        encoder.step(recording(2), small_encoder(0, FLOAT).init_state(**CHUNKING))
