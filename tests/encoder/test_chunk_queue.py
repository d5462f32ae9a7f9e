"""Cutting segments into chunks, against lists of numbered frames."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.encoder.stepping import cut_segment


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, 15), st.integers(0, 70)), min_size=1, max_size=4),
    st.integers(0, 5),
    st.booleans(),
)
def test_chunks_and_rest(streams: list[tuple[int, int]], extra: int, is_final: bool) -> None:
    """Frames are numbered from 1 in each stream; NaN stands wherever nothing may be read."""
    window = 16
    width = max(new for _, new in streams) + extra
    pending = torch.full((len(streams), window, 1), float("nan"))
    features = torch.full((len(streams), width, 1), float("nan"))
    for row, (waiting, new) in enumerate(streams):
        pending[row, :waiting, 0] = torch.arange(1.0, waiting + 1)
        features[row, :new, 0] = torch.arange(waiting + 1.0, waiting + new + 1)
    cut = cut_segment(
        pending, [w for w, _ in streams], features, [n for _, n in streams], is_final=is_final
    )
    assert all(chunk.shape == (len(streams), window, 1) for chunk in cut.chunks)
    assert len(cut.lengths) == len(cut.chunks)
    for row, (waiting, new) in enumerate(streams):
        queued = list(range(1, waiting + new + 1))
        whole = len(queued) // window * window
        taken = queued[: len(queued) // 2 * 2] if is_final else queued[:whole]
        rest = [] if is_final else queued[whole:]
        given_out: list[float] = []
        for chunk, lengths in zip(cut.chunks, cut.lengths, strict=True):
            count = 2 * lengths[row]
            assert count == min(window, max(0, len(taken) - len(given_out)))
            given_out += chunk[row, :count, 0].tolist()
            assert not chunk[row, count:].any()
        assert given_out == taken
        assert cut.totals[row] == len(taken) // 2
        assert cut.pending_lengths[row] == len(rest)
        assert cut.pending[row, : len(rest), 0].tolist() == rest
        assert not cut.pending[row, len(rest) :].any()
    # No chunk without anyone's frames.
    assert all(any(lengths) for lengths in cut.lengths)
