"""What may change what: chunk ends, look-ahead and left context; masks that are made once."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from echostream.encoder.chunk_masks import MaskSettings, cached_chunk_masks, chunk_masks
from echostream.encoder.ct_mask import stack_mask
from echostream.encoder.zipformer import ZipformerEncoder

from .dense_zipformer import RATES, allowed_at
from .reach import dependencies
from .small_encoder import (
    CHUNK_SIZES,
    FUTURES,
    INPUT_DIM,
    largest_difference,
    noise,
    small_encoder,
)

FRAMES = 80


def changed_by(
    encoder: ZipformerEncoder, changed: slice, frames: int = FRAMES, **options: Any
) -> Tensor:
    """``[T]`` which encoder frames change, in any bit, when these feature frames do."""
    features = noise(1, 2 * frames, INPUT_DIM, seed=1)
    other = features.clone()
    other[:, changed] += noise(*other[:, changed].shape, seed=2)
    a, b = (encoder(x, **options)["encoder_out"][0] for x in (features, other))
    return torch.any(a != b, dim=1)


@pytest.mark.parametrize("future", FUTURES)
@pytest.mark.parametrize("chunk", CHUNK_SIZES)
def test_nothing_after_a_chunk_changes_it(chunk: int, future: int | None) -> None:
    options: dict[str, Any] = {"chunk_size": chunk, "left_context": 64, "max_future_frames": future}
    for end in range(chunk, FRAMES, chunk):
        changed = changed_by(small_encoder(4), slice(2 * end, None), **options)
        assert not changed[:end].any()
        assert changed[end:].all()


@pytest.mark.parametrize("memory", [0, 4])
@pytest.mark.parametrize("future", FUTURES)
@pytest.mark.parametrize("chunk, left", [(8, 0), (16, 8), (24, 0), (64, 8)])
def test_changes_stay_within_reach(chunk: int, left: int, future: int | None, memory: int) -> None:
    encoder = small_encoder(memory)
    options: dict[str, Any] = {
        "chunk_size": chunk,
        "left_context": left,
        "max_future_frames": future,
    }
    may = dependencies(encoder.config, FRAMES, chunk, left, future)
    for frame in range(0, 2 * FRAMES, 13):
        changed = changed_by(encoder, slice(frame, frame + 1), **options)
        assert not (changed & ~may[:, frame]).any()
        assert changed.any()
        if future in (None, 0):
            # Paths of one step, strong enough for float64 to show: the bound is met exactly.
            assert changed.nonzero()[0] == may[:, frame].nonzero()[0]


def test_memory_reaches_beyond_the_left_context() -> None:
    """With everything else causal and short, segment 0 is seen from M segments later."""
    options: dict[str, Any] = {"chunk_size": 8, "left_context": 0, "max_future_frames": 0}
    frames = 400
    far = [
        int(changed_by(small_encoder(memory), slice(0, 1), frames, **options).nonzero()[-1])
        for memory in (0, 4)
    ]
    bound = [
        int(dependencies(small_encoder(m).config, frames, 8, 0, 0)[:, 0].nonzero()[-1])
        for m in (0, 4)
    ]
    assert far[0] <= bound[0] < far[1] <= bound[1]
    # The last segment with a trace of frame 0, and the four after it.
    assert far[1] == (far[0] // 16 + 5) * 16 - 1


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 120)), min_size=1, max_size=3),
    st.sampled_from(CHUNK_SIZES),
    st.sampled_from((0, 8, 64)),
    st.sampled_from(FUTURES),
    st.sampled_from(sorted(set(RATES))),
)
def test_mask_is_the_rule(
    streams: list[tuple[int, int]], chunk: int, left: int, future: int | None, rate: int
) -> None:
    """Every entry of the mask, for streams with different histories and lengths."""
    lengths = [length for _, length in streams]
    chunks = max(1, -(-max(lengths) // chunk))
    masks = stack_mask(
        torch.tensor([groups * chunk for groups, _ in streams]),
        torch.tensor(lengths),
        num_chunks=chunks,
        chunk_size=chunk,
        left_context=left,
        max_future_frames=future,
        downsampling=rate,
    )
    size, past = chunk // rate, left // rate
    assert (masks.chunk, masks.left) == (size, past)
    assert masks.future == (size - 1 if future is None else min(future, size - 1))
    assert masks.valid.shape == (len(streams), chunks * size, 1)
    assert masks.mask.shape == (len(streams) * chunks, 1, size, past + size)
    rule, _ = allowed_at(rate, chunk, left, future)
    for b, (groups, length) in enumerate(streams):
        before = groups * chunk // rate
        end = before + -(-length // rate)
        valid = [before + t < end for t in range(chunks * size)]
        assert masks.valid[b, :, 0].tolist() == [float(e) for e in valid]
        for k in range(chunks):
            for i in range(size):
                query = before + k * size + i
                keys = [before + k * size - past + w for w in range(past + size)]
                expected = [0 <= key < end and rule(query, key) for key in keys]
                row = masks.mask[b * chunks + k, 0, i]
                assert (row == 0).tolist() == expected
                assert bool((row[~torch.tensor(expected)] <= -1e9).all())


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 150), st.sampled_from((0, 4)), st.sampled_from((0, 8, 64)))
def test_causal_output_does_not_depend_on_the_chunk(total: int, memory: int, left: int) -> None:
    features = noise(1, total, INPUT_DIM, seed=total)
    for a, b in pairwise(
        small_encoder(memory)(features, chunk_size=c, left_context=left, max_future_frames=0)
        for c in CHUNK_SIZES
    ):
        assert largest_difference(a["encoder_out"], b["encoder_out"]) < 1e-10


sights = st.builds(
    MaskSettings,
    chunk_size=st.sampled_from((8, 16, 24)),
    left_context=st.sampled_from((0, 8, 64)),
    max_future_frames=st.sampled_from((None, 0, 1)),
    memory_size=st.sampled_from((0, 1, 3)),
    memory_segment=st.sampled_from((8, 16, 24, 40)),
)


@settings(deadline=None, max_examples=150)
@given(st.data(), sights)
def test_views_of_one_chunk(data: st.DataObject, settings: MaskSettings) -> None:
    """Far into a stream, too, where the call is taken for an earlier one that looks the same."""
    streams = data.draw(
        st.lists(
            st.tuples(st.integers(0, 60), st.integers(0, settings.chunk_size)),
            min_size=1,
            max_size=3,
        )
    )
    heard = [chunks * settings.chunk_size for chunks, _ in streams]
    lengths = [length for _, length in streams]
    found = cached_chunk_masks(heard, lengths, settings, torch.device("cpu"))
    expected = chunk_masks(torch.tensor(heard), torch.tensor(lengths), 1, settings)
    assert found.frames.keys() == expected.frames.keys()
    for rate, masks in expected.frames.items():
        assert torch.equal(found.frames[rate].mask, masks.mask)
        assert torch.equal(found.frames[rate].valid, masks.valid)
    assert (found.memory is None) == (expected.memory is None) == (settings.memory_size == 0)
    if found.memory is not None and expected.memory is not None:
        assert torch.equal(found.memory.mask, expected.memory.mask)
        # Slots of segments never heard may point anywhere.
        known = expected.memory.mask[:, :, 0, 0, :-1] == 0
        assert torch.equal(found.memory.rows[known], expected.memory.rows[known])
    whole = all(length == settings.chunk_size for length in lengths)
    assert (found.valid is None) == whole
    assert all(masks.whole == whole for masks in found.frames.values())


def test_a_long_stream_has_one_view() -> None:
    settings = MaskSettings(16, 128, None, 4, 16)
    all_masks = [
        cached_chunk_masks([heard], [16], settings, torch.device("cpu"))
        for heard in (128, 144, 16000)
    ]
    assert all_masks[0] is all_masks[1] is all_masks[2]
    assert cached_chunk_masks([112], [16], settings, torch.device("cpu")) is not all_masks[0]
