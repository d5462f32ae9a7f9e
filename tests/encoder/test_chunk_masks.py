"""The masks that are made once are those that would be made for the call."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.encoder.chunk_masks import MaskSettings, cached_chunk_masks, chunk_masks

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
