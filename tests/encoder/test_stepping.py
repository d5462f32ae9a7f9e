"""Segments are cut into chunks; of streams in one batch each gets what it would get alone."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from echostream.encoder.stepping import CALL_COST, call_sizes, cut_segment
from echostream.encoder.stream_state import StreamState
from echostream.encoder.zipformer import ZipformerEncoder
from echostream.errors import StateMismatchError, StreamClosedError

from .small_encoder import INPUT_DIM, noise, small_encoder
from .stream_batches import (
    CHUNKING,
    FLOAT,
    STREAMS,
    WINDOW,
    check_each_is_as_if_alone,
    check_no_one_active_changes_nothing,
    check_stepping_is_pure,
    check_what_is_not_finite_stays,
    recording,
    turns,
)

ENCODER = small_encoder(4, FLOAT)


class InCallsOf(ZipformerEncoder):
    """Streams are computed in calls of given sizes, as where each size takes a graph."""

    sizes: frozenset[int]

    def _calls(self, busy: int, state: StreamState) -> tuple[int, ...]:
        return call_sizes(busy, self.sizes) if busy else ()


def in_calls_of(*sizes: int) -> InCallsOf:
    encoder = InCallsOf.from_config(ENCODER.config)
    encoder.load_state_dict(ENCODER.state_dict())
    encoder.sizes = frozenset(sizes)
    return encoder.eval().requires_grad_(False)


encoders = pytest.mark.parametrize(
    "encoder",
    # As many as there are; split; filled up; all at once, idle ones too.
    [ENCODER, in_calls_of(1), in_calls_of(3), in_calls_of(STREAMS)],
    ids=["exact", "1", "3", "all"],
)


@encoders
@settings(deadline=None, max_examples=12)
@given(plan=turns)
def test_each_stream_is_as_if_alone(
    encoder: ZipformerEncoder, plan: list[list[tuple[bool, int, bool]]]
) -> None:
    check_each_is_as_if_alone(encoder, plan)


@pytest.mark.fault("F45")
@encoders
def test_what_is_not_finite_stays_with_its_stream(encoder: ZipformerEncoder) -> None:
    check_what_is_not_finite_stays(encoder)


@encoders
def test_stepping_a_batch_is_pure(encoder: ZipformerEncoder) -> None:
    check_stepping_is_pure(encoder)


@encoders
def test_no_one_active_changes_nothing(encoder: ZipformerEncoder) -> None:
    check_no_one_active_changes_nothing(encoder)


def test_end_of_some() -> None:
    encoder = ENCODER
    state = encoder.init_state(3, **CHUNKING)
    features = torch.stack([recording(row, 50) for row in range(3)])
    ends = torch.tensor([True, False, True])
    active = torch.tensor([True, True, False])
    y, lengths, state = encoder.step(features, state, is_final=ends, active=active)
    assert lengths.tolist() == [25, 16, 0] and y.shape[1] == 25
    assert state.finished.tolist() == [True, False, False]
    assert state.segment_id.tolist() == [1, 1, 0]
    assert state.pending_lengths.tolist() == [0, 18, 0]
    # The one that ended may be there, with nothing or idle; it may not get more.
    lengths_left = torch.tensor([0, 14, 32])
    more = encoder.step(features, state, lengths_left)
    assert more[1].tolist() == [0, 16, 16]
    encoder.step(features, state, active=torch.tensor([False, True, True]))
    with pytest.raises(StreamClosedError):
        encoder.step(features, state, active=active)


@pytest.mark.parametrize("name", ["active", "is_final"])
@pytest.mark.parametrize(
    "given",
    [torch.tensor([True]), torch.tensor(True), torch.tensor([1, 0]), torch.ones(2, 1).bool()],
)
def test_wrong_masks_are_refused(name: str, given: Tensor) -> None:
    encoder = ENCODER
    features = noise(2, 8, INPUT_DIM, dtype=FLOAT)
    with pytest.raises(StateMismatchError, match=rf"{name} .* expected \[2\] torch.bool"):
        encoder.step(features, encoder.init_state(2, **CHUNKING), **{name: given})


def test_only_busy_streams_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle ones cost nothing."""
    seen: list[int] = []
    encode = ZipformerEncoder._encode_chunk

    def counted(self: Any, features: Tensor, lengths: Sequence[int], state: Any) -> Any:
        seen.append(len(lengths))
        return encode(self, features, lengths, state)  # type: ignore[arg-type]

    monkeypatch.setattr(ZipformerEncoder, "_encode_chunk", counted)
    encoder = ENCODER
    features = torch.stack([recording(row, WINDOW) for row in range(STREAMS)])
    state = encoder.init_state(STREAMS, **CHUNKING)
    for busy in range(STREAMS + 1):
        active = torch.arange(STREAMS) < busy
        encoder.step(features, state, active=active)
    assert seen == [1, 2, 3, 4]


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 12), st.sets(st.integers(1, 12), min_size=1, max_size=4))
def test_calls_are_the_cheapest(streams: int, available: set[int]) -> None:
    """Against all ways there are."""

    def ways(left: int, most: int) -> list[tuple[int, ...]]:
        if left <= 0:
            return [()]
        return [
            (size, *rest) for size in available if size <= most for rest in ways(left - size, size)
        ]

    def cost(sizes: tuple[int, ...]) -> int:
        return sum(CALL_COST + size for size in sizes)

    found = call_sizes(streams, frozenset(available))
    assert sum(found) >= streams and set(found) <= available
    assert sum(found[:-1]) < streams
    assert list(found) == sorted(found, reverse=True)
    assert cost(found) == min(map(cost, ways(streams, 12)))


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, 23), st.integers(0, 70)), min_size=1, max_size=4),
    st.integers(0, 5),
    st.booleans(),
    st.sampled_from((0, 1, 4)),
)
def test_chunks_and_rest(
    streams: list[tuple[int, int]], extra: int, is_final: bool, right_context: int
) -> None:
    """Frames are numbered from 1 in each stream; NaN stands wherever nothing may be read."""
    window, behind = 16, 2 * right_context
    streams = [(min(waiting, window + behind - 1), new) for waiting, new in streams]
    width = max(new for _, new in streams) + extra
    pending = torch.full((len(streams), window + behind, 1), float("nan"))
    features = torch.full((len(streams), width, 1), float("nan"))
    for row, (waiting, new) in enumerate(streams):
        pending[row, :waiting, 0] = torch.arange(1.0, waiting + 1)
        features[row, :new, 0] = torch.arange(waiting + 1.0, waiting + new + 1)
    cut = cut_segment(
        pending,
        [w for w, _ in streams],
        features,
        [n for _, n in streams],
        is_final=is_final,
        right_context=right_context,
    )
    assert all(chunk.shape == (len(streams), window + behind, 1) for chunk in cut.chunks)
    assert len(cut.lengths) == len(cut.chunks)
    for row, (waiting, new) in enumerate(streams):
        queued = list(range(1, waiting + new + 1))
        whole = max(0, len(queued) - behind) // window * window
        taken = queued[: len(queued) // 2 * 2] if is_final else queued[:whole]
        rest = [] if is_final else queued[whole:]
        given_out = 0
        for chunk, lengths in zip(cut.chunks, cut.lengths, strict=True):
            seen = [] if given_out >= len(taken) else queued[given_out:][: window + behind]
            if is_final:
                seen = seen[: len(seen) // 2 * 2]
            assert chunk[row, : 2 * lengths[row], 0].tolist() == seen
            assert not lengths[row] or not chunk[row, 2 * lengths[row] :].any()
            given_out += min(window, len(seen))
        assert given_out == len(taken)
        assert cut.totals[row] == len(taken) // 2
        assert cut.pending_lengths[row] == len(rest)
        assert cut.pending[row, : len(rest), 0].tolist() == rest
        assert not cut.pending[row, len(rest) :].any()
    # No chunk without anyone's frames.
    assert all(any(lengths) for lengths in cut.lengths)
