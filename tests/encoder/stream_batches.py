"""What holds for a batch of streams at different positions, whatever computes them.

Symbols: ``T`` feature frames, ``F`` mel bins.
"""

import functools
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from echostream.decoder import CtcHead
from echostream.encoder.stepping import ChunkEncoder

from .small_encoder import INPUT_DIM, equal, largest_difference, noise, randomise, small_encoder

FLOAT = torch.float32
CHUNKING: dict[str, Any] = {"chunk_size": 16, "left_context": 32, "max_future_frames": None}
WINDOW = 32
"""Feature frames of a chunk."""
STREAMS = 4

turns = st.lists(
    st.lists(
        st.tuples(
            st.booleans(),  # takes part
            st.one_of(st.just(0), st.integers(1, 20), st.integers(21, 90)),  # new frames
            st.sampled_from((False, False, False, True)),  # ends
        ),
        min_size=STREAMS,
        max_size=STREAMS,
    ),
    min_size=1,
    max_size=5,
)
"""For each step and stream: whether it takes part, its new frames, whether it ends."""


def recording(stream: int, total: int) -> Tensor:
    return noise(total, INPUT_DIM, seed=stream, dtype=FLOAT, scale=1.0 + stream)


@functools.cache
def head() -> CtcHead:
    made = CtcHead(small_encoder(4, FLOAT).config.output_dim, 12)
    randomise(made, 7)
    return made.requires_grad_(False)


def check_each_is_as_if_alone(
    encoder: ChunkEncoder, plan: list[list[tuple[bool, int, bool]]]
) -> None:
    """Any of them idle, ended, ending or going on, in any step; rubbish stands wherever nothing may
    be read."""
    joined = encoder.init_state(STREAMS, **CHUNKING)
    alone = [encoder.init_state(1, **CHUNKING) for _ in range(STREAMS)]
    for k, turn in enumerate(plan):
        ended = joined.finished.tolist()
        active = [takes for takes, _, _ in turn]
        counts = [0 if end else new for (_, new, _), end in zip(turn, ended, strict=True)]
        ends = [end for _, _, end in turn]
        width = max(counts, default=0)
        block = torch.full((STREAMS, width, INPUT_DIM), float("nan"))
        lengths = torch.full((STREAMS,), 10_000)
        for row, count in enumerate(counts):
            if active[row]:
                block[row, :count] = recording(row, 500)[k * 90 : k * 90 + count]
                lengths[row] = count
        y, y_lengths, after = encoder.step(
            block, joined, lengths, is_final=torch.tensor(ends), active=torch.tensor(active)
        )
        assert y.shape[1] == int(y_lengths.max())
        for row, count in enumerate(counts):
            length = int(y_lengths[row])
            assert not y[row, length:].any(), "frames after a stream's own are zero"
            if not active[row]:
                assert length == 0
                assert equal(after, joined, rows=slice(row, row + 1))
                continue
            own, _, alone[row] = encoder.step(
                block[row : row + 1, :count], alone[row], is_final=ends[row]
            )
            assert length == own.shape[1]
            assert largest_difference(y[row, :length], own[0]) < 1e-5
            tokens, own_tokens = (head()(x).argmax(dim=-1) for x in (y[row, :length], own[0]))
            assert torch.equal(tokens, own_tokens)
            for name, tensor in after.rows(slice(row, row + 1)).named_tensors():
                expected = dict(alone[row].named_tensors())[name]
                assert tensor.dtype == expected.dtype
                assert largest_difference(tensor.double(), expected.double()) < 1e-5, name
        joined = after


def check_what_is_not_finite_stays(encoder: ChunkEncoder) -> None:
    """In features and, from then on, in the state; idle or not, and in the first row, which fills
    up calls that are too large."""
    start = encoder.init_state(STREAMS, **CHUNKING)
    features = torch.stack([recording(row, WINDOW) for row in range(STREAMS)])
    for sick in (0, 2):
        for value in (float("nan"), float("inf")):
            bad = features.clone()
            bad[sick] = value
            for busy in range(1, STREAMS + 1):
                active = torch.tensor([row == sick for row in range(STREAMS)])
                active[[row for row in range(STREAMS) if row != sick][: busy - 1]] = True
                good_y, _, good = encoder.step(features, start, active=active)
                y, _, after = encoder.step(bad, start, active=active)
                assert not y[sick].isfinite().all(), "it is nobody's while it is not its own"
                # And again, the sick stream going on, or idle with its state.
                for takes in (True, False):
                    then = active.clone()
                    then[sick] = takes
                    good_then, _, good_after = encoder.step(features, good, active=then)
                    y_then, _, last = encoder.step(features, after, active=then)
                    if not takes:
                        assert not y_then[sick].any()
                        assert equal(last, after, rows=slice(sick, sick + 1))
                    for row in set(range(STREAMS)) - {sick}:
                        assert torch.equal(y[row], good_y[row])
                        assert torch.equal(y_then[row], good_then[row])
                        assert equal(last, good_after, rows=slice(row, row + 1))


def check_stepping_is_pure(encoder: ChunkEncoder) -> None:
    state = encoder.init_state(STREAMS, **CHUNKING)
    features = torch.stack([recording(row, 70) for row in range(STREAMS)])
    state = encoder.step(features, state)[2]
    for mask in ([True, False, True, False], [True] * 3 + [False], [False] * 4):
        active = torch.tensor(mask)
        kept, copied = state.clone(), features.clone()
        first = encoder.step(features, state, active=active)
        values = first[0].clone(), first[2].clone()
        second = encoder.step(features, state, active=active)
        encoder.step(features, second[2], active=active)
        assert equal(state, kept) and torch.equal(features, copied)
        assert torch.equal(first[0], values[0]) and torch.equal(second[0], values[0])
        assert equal(first[2], values[1]) and equal(second[2], values[1])


def check_no_one_active_changes_nothing(encoder: ChunkEncoder) -> None:
    state = encoder.init_state(2, **CHUNKING)
    state = encoder.step(noise(2, 45, INPUT_DIM, dtype=FLOAT), state)[2]
    nobody = torch.tensor([False, False])
    y, lengths, after = encoder.step(
        noise(2, 90, INPUT_DIM, dtype=FLOAT), state, is_final=True, active=nobody
    )
    assert y.shape == (2, 0, encoder.config.output_dim)
    assert lengths.tolist() == [0, 0]
    assert equal(after, state)
