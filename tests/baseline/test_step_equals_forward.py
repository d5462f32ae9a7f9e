"""Either way of streaming, and any cuts, give what ``forward`` gives."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from echostream.baseline import ChunkConformerEncoder

from .small_conformer import (
    INPUT_DIM,
    STREAMED,
    largest_difference,
    noise,
    push,
    randomise,
    small_encoder,
)

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
MODES = ("cached", "recompute")


@st.composite
def recordings(draw: st.DrawFn) -> tuple[int, list[int]]:
    """Length of a recording and where it is cut: few places, some twice, or every single one."""
    total = draw(st.one_of(st.integers(0, 40), st.integers(41, 300)))
    if total <= 40 and draw(st.booleans()):
        return total, list(range(1, total))
    return total, sorted(draw(st.lists(st.integers(0, total), max_size=10)))


@settings(deadline=None, max_examples=120)
@given(
    st.sampled_from(tuple(TOLERANCE)),
    recordings(),
    st.sampled_from(STREAMED),
    st.sampled_from(MODES),
    st.sampled_from((1, 3)),
)
@example(torch.float32, (37, list(range(1, 37))), (2, 2), "cached", 2)
@example(torch.float32, (300, [128, 131, 256]), (32, 16), "recompute", 1)
def test_any_cuts(
    dtype: torch.dtype,
    recording: tuple[int, list[int]],
    chunks: tuple[int, int],
    mode: str,
    batch: int,
) -> None:
    encoder = small_encoder(dtype)
    total, cuts = recording
    sizes = {"chunk_size": chunks[0], "conv_chunk_size": chunks[1]}
    features = noise(batch, total, INPUT_DIM, seed=total, dtype=dtype)
    expected = encoder(features, **sizes)["encoder_out"]
    y, state = push(encoder, features, cuts, encoder.init_state(batch, mode=mode, **sizes))
    assert largest_difference(y, expected) < TOLERANCE[dtype]
    assert state.processed_frames.tolist() == [-(-total // 4)] * batch
    assert state.segment_id.tolist() == [len(cuts) + 1] * batch
    assert state.finished.tolist() == [True] * batch


@settings(deadline=None, max_examples=40)
@given(recordings(), st.sampled_from(STREAMED), st.sampled_from(MODES))
def test_frames_come_out_as_soon_as_their_chunk_is_whole(
    recording: tuple[int, list[int]], chunks: tuple[int, int], mode: str
) -> None:
    encoder = small_encoder()
    total, cuts = recording
    features = noise(1, total, INPUT_DIM, seed=total)
    state = encoder.init_state(mode=mode, chunk_size=chunks[0], conv_chunk_size=chunks[1])
    heard = given = 0
    for cut in [*cuts, total]:
        y, _, state = encoder.step(features[:, heard:cut], state)
        heard, given = cut, given + y.shape[1]
        assert given == heard // (4 * chunks[0]) * chunks[0]
        assert state.pending_lengths.tolist() == [heard % (4 * chunks[0])]


@settings(deadline=None, max_examples=30)
@given(recordings(), recordings(), st.sampled_from(STREAMED))
def test_cuts_change_no_bit_of_the_cached_encoder(
    recording: tuple[int, list[int]], other: tuple[int, list[int]], chunks: tuple[int, int]
) -> None:
    """A chunk is computed alone however it came, so the very same operations run."""
    encoder = small_encoder(torch.float32)
    total, cuts = recording
    other_cuts = sorted(min(cut, total) for cut in other[1])
    sizes = {"chunk_size": chunks[0], "conv_chunk_size": chunks[1]}
    features = noise(1, total, INPUT_DIM, dtype=torch.float32)
    y1, state1 = push(encoder, features, cuts, encoder.init_state(**sizes))
    y2, state2 = push(encoder, features, other_cuts, encoder.init_state(**sizes))
    assert torch.equal(y1, y2)
    tensors2 = dict(state2.named_tensors())
    for name, tensor in state1.named_tensors():
        if name != "segment_id":
            assert torch.equal(tensor, tensors2[name]), name


@pytest.mark.parametrize("chunk", [2, 8, 16, 32])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("total", [0, 1, 2, 5, 31, 32, 33, 127, 128, 129])
def test_last_partial_chunk(chunk: int, mode: str, total: int) -> None:
    encoder = small_encoder()
    features = noise(1, total, INPUT_DIM, seed=total)
    expected = encoder(features, chunk_size=chunk)["encoder_out"]
    # The end comes with the last frames, or alone in an empty push.
    for cuts in ([], [total], [total // 2, total, total]):
        state = encoder.init_state(chunk_size=chunk, mode=mode)
        y, _ = push(encoder, features, cuts, state)
        assert largest_difference(y, expected) < 1e-10


def test_published_sizes() -> None:
    encoder = ChunkConformerEncoder().eval().requires_grad_(False)
    randomise(encoder)
    features = noise(1, 211, 80, dtype=torch.float32)
    expected = encoder(features)["encoder_out"]
    for mode in MODES:
        y, _ = push(encoder, features, [40, 41, 150], encoder.init_state(mode=mode))
        assert largest_difference(y, expected) < 1e-5, mode
