"""Any cutting of any batch into steps gives what ``forward`` gives."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from echostream.config import load_config
from echostream.encoder.zipformer import ZipformerEncoder

from .small_encoder import (
    CHUNK_SIZES,
    FUTURES,
    INPUT_DIM,
    largest_difference,
    noise,
    push,
    push_ragged,
    randomise,
    small_encoder,
)

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
DTYPES = tuple(TOLERANCE)


@st.composite
def cut_lists(draw: st.DrawFn, total: int) -> list[int]:
    """Places to cut ``total`` frames: few, some twice (an empty push), or every single one."""
    if total <= 40 and draw(st.booleans()):
        return list(range(1, total))
    return sorted(draw(st.lists(st.integers(0, total), max_size=12)))


@st.composite
def recordings(draw: st.DrawFn) -> tuple[int, list[int]]:
    """Length of a recording and where it is cut."""
    total = draw(st.one_of(st.integers(0, 40), st.integers(41, 150)))
    return total, draw(cut_lists(total))


@st.composite
def ragged_plans(draw: st.DrawFn) -> list[list[int]]:
    """``plan[k][b]``: frames of stream ``b`` in step ``k``; some streams start or end early."""
    batch = draw(st.integers(1, 4))
    counts = st.lists(
        st.one_of(st.just(0), st.integers(0, 5), st.integers(6, 70)),
        min_size=batch,
        max_size=batch,
    )
    return draw(st.lists(counts, min_size=1, max_size=5))


chunkings = st.fixed_dictionaries(
    {
        "chunk_size": st.sampled_from(CHUNK_SIZES),
        "left_context": st.sampled_from((0, 8, 64, 128)),
        "max_future_frames": st.sampled_from(FUTURES),
    }
)
encoders = st.builds(small_encoder, st.sampled_from((0, 4)), st.sampled_from(DTYPES))


def dtype_of(encoder: ZipformerEncoder) -> torch.dtype:
    return encoder.stem.norm.bias.dtype


@pytest.mark.fault("F11")
@settings(deadline=None, max_examples=80)
@given(encoders, recordings(), chunkings, st.integers(0, 5))
@example(
    small_encoder(4, torch.float32),
    (47, list(range(1, 47))),
    {"chunk_size": 8, "left_context": 8, "max_future_frames": None},
    0,
)
def test_any_cuts_of_one_recording(
    encoder: ZipformerEncoder,
    recording: tuple[int, list[int]],
    chunking: dict[str, Any],
    seed: int,
) -> None:
    total, cuts = recording
    features = noise(1, total, INPUT_DIM, seed=seed, dtype=dtype_of(encoder))
    expected = encoder(features, **chunking)["encoder_out"]
    y, state = push(encoder, features, cuts, encoder.init_state(**chunking))
    assert largest_difference(y, expected) < TOLERANCE[dtype_of(encoder)]
    assert state.processed_frames.tolist() == [total // 2]
    assert state.segment_id.tolist() == [len(cuts) + 1]
    assert state.finished.tolist() == [True]


@settings(deadline=None, max_examples=80)
@given(encoders, ragged_plans(), chunkings)
@example(
    small_encoder(4, torch.float64),
    [[0, 33, 70, 1], [31, 0, 70, 0], [1, 33, 70, 0], [40, 0, 70, 0]],
    {"chunk_size": 16, "left_context": 64, "max_future_frames": None},
)
def test_streams_of_different_lengths_in_one_batch(
    encoder: ZipformerEncoder, plan: list[list[int]], chunking: dict[str, Any]
) -> None:
    totals = [sum(counts) for counts in zip(*plan, strict=True)]
    sources = [
        noise(total, INPUT_DIM, seed=b, dtype=dtype_of(encoder)) for b, total in enumerate(totals)
    ]
    state = encoder.init_state(len(totals), **chunking)
    outputs, state = push_ragged(encoder, sources, plan, state)
    for source, y in zip(sources, outputs, strict=True):
        expected = encoder(source[None], **chunking)["encoder_out"][0]
        assert largest_difference(y, expected) < TOLERANCE[dtype_of(encoder)]
    assert state.processed_frames.tolist() == [total // 2 for total in totals]


@settings(deadline=None, max_examples=40)
@given(encoders, recordings(), recordings(), chunkings)
def test_cuts_change_no_bit(
    encoder: ZipformerEncoder,
    recording: tuple[int, list[int]],
    other: tuple[int, list[int]],
    chunking: dict[str, Any],
) -> None:
    """A chunk is computed alone however it came, so the very same operations run."""
    total, cuts = recording
    other_cuts = sorted(min(cut, total) for cut in other[1])
    features = noise(1, total, INPUT_DIM, dtype=dtype_of(encoder))
    y1, state1 = push(encoder, features, cuts, encoder.init_state(**chunking))
    y2, state2 = push(encoder, features, other_cuts, encoder.init_state(**chunking))
    assert torch.equal(y1, y2)
    tensors2 = dict(state2.named_tensors())
    for name, tensor in state1.named_tensors():
        if name != "segment_id":
            assert torch.equal(tensor, tensors2[name]), name


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 150), st.sampled_from((0, 4)), st.sampled_from((0, 8, 64)))
def test_causal_output_does_not_depend_on_the_chunk(total: int, memory: int, left: int) -> None:
    encoder = small_encoder(memory)
    features = noise(1, total, INPUT_DIM, seed=total)
    outputs = [
        encoder(features, chunk_size=chunk, left_context=left, max_future_frames=0)["encoder_out"]
        for chunk in CHUNK_SIZES
    ]
    for a, b in pairwise(outputs):
        assert largest_difference(a, b) < 1e-10


def test_with_look_ahead_output_depends_on_the_chunk() -> None:
    """The test above could not fail if nothing ever depended on the chunk."""
    features = noise(1, 150, INPUT_DIM)
    for future in (None, 1, 4):
        by_chunk = [
            small_encoder(4)(features, chunk_size=chunk, max_future_frames=future)["encoder_out"]
            for chunk in CHUNK_SIZES
        ]
        for a, b in pairwise(by_chunk):
            assert largest_difference(a, b) > 1e-3


@pytest.mark.fault("F10", "F13")
@pytest.mark.parametrize("chunk", CHUNK_SIZES)
@pytest.mark.parametrize("total", [0, 1, 2, 15, 16, 17, 127, 128, 129])
def test_last_partial_chunk(chunk: int, total: int) -> None:
    encoder = small_encoder(4)
    options = {"chunk_size": chunk, "left_context": 64, "max_future_frames": None}
    features = noise(1, total, INPUT_DIM, seed=total)
    expected = encoder(features, **options)["encoder_out"]
    # The end comes with the last frames, or alone in an empty push.
    for cuts in ([], [total], [total // 2, total, total]):
        y, _ = push(encoder, features, cuts, encoder.init_state(**options))
        assert largest_difference(y, expected) < 1e-10


@pytest.mark.parametrize("memory", [0, 4])
def test_long_stream(memory: int) -> None:
    """All caches and the memory ring have wrapped several times."""
    encoder = small_encoder(memory, torch.float32)
    features = noise(1, 1111, INPUT_DIM, dtype=torch.float32)
    options = {"chunk_size": 16, "left_context": 16, "max_future_frames": None}
    expected = encoder(features, **options)["encoder_out"]
    y, _ = push(encoder, features, list(range(37, 1111, 37)), encoder.init_state(**options))
    assert largest_difference(y, expected) < 1e-5


def test_shipped_tiny_configuration(request: pytest.FixtureRequest) -> None:
    config = load_config(request.config.rootpath / "configs" / "tiny.yaml").encoder
    encoder = ZipformerEncoder.from_config(config).eval().requires_grad_(False)
    randomise(encoder)
    sources = [noise(total, 80, seed=total, dtype=torch.float32) for total in (213, 150, 64)]
    plan = [[40, 1, 0], [40, 100, 20], [100, 0, 44], [33, 49, 0]]
    outputs, _ = push_ragged(encoder, sources, plan, encoder.init_state(3))
    for source, y in zip(sources, outputs, strict=True):
        expected = encoder(source[None])["encoder_out"][0]
        assert y.shape == (source.shape[0] // 2, config.output_dim)
        assert largest_difference(y, expected) < 1e-5
