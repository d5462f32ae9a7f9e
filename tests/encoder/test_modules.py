"""Each module alone: many chunks in one call equal one chunk after the other, state carried."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from echostream.encoder.activation import swoosh_l, swoosh_r
from echostream.encoder.attention import (
    AttentionWeights,
    NonlinearAttention,
    SelfAttention,
    advance,
    align_positions,
    extend,
    join_heads,
    split_heads,
)
from echostream.encoder.convolution import Convolution
from echostream.encoder.ct_mask import StackMask, stack_mask
from echostream.encoder.layer import ZipformerLayer
from echostream.encoder.memory_bank import MemoryBank, MemoryState, memory_mask
from echostream.encoder.norm import BiasNorm, Bypass
from echostream.encoder.stack import Downsample, Stack
from echostream.encoder.stem import Stem

from .small_encoder import INPUT_DIM, largest_difference, noise, randomise, small_config

BATCH = 2
CHANNELS = 12
HEADS = 3
SAME = 1e-12

Chunkwise = Callable[[Any, Tensor, StackMask], tuple[Tensor, Any]]
"""``(state, chunk(s) of input, masks) -> (output, state)``."""


def made(module: nn.Module) -> Any:
    randomise(module)
    return module.double().eval().requires_grad_(False)


def view_of(
    chunks: int,
    chunk: int,
    left: int,
    future: int | None,
    before: int = 0,
    lengths: Tensor | None = None,
) -> StackMask:
    if lengths is None:
        lengths = torch.full((BATCH,), chunks * chunk)
    return stack_mask(
        torch.full((BATCH,), before),
        lengths,
        num_chunks=chunks,
        chunk_size=chunk,
        left_context=left,
        max_future_frames=future,
        downsampling=1,
    )


def both_ways(
    step: Chunkwise,
    state: Any,
    x: Tensor,
    chunk: int,
    left: int,
    future: int | None,
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor, Any, Any]:
    """Output of one call and of a call for each chunk, and the two last states."""
    chunks = x.shape[1] // chunk
    whole, state_whole = step(state, x, view_of(chunks, chunk, left, future, 0, lengths))
    parts = []
    for k in range(chunks):
        here = None if lengths is None else (lengths - k * chunk).clamp(0, chunk)
        masks = view_of(1, chunk, left, future, k * chunk, here)
        y, state = step(state, x[:, k * chunk : (k + 1) * chunk], masks)
        parts.append(y)
    return whole, torch.cat(parts, dim=1), state_whole, state


sizes = pytest.mark.parametrize("chunk, left", [(8, 0), (8, 24), (16, 8), (24, 64)])
futures = pytest.mark.parametrize("future", [None, 0, 1])


@sizes
@futures
def test_attention_weights(chunk: int, left: int, future: int | None) -> None:
    module = made(AttentionWeights(CHANNELS, HEADS, 4, 2, 6))

    def step(past: Tensor, x: Tensor, masks: StackMask) -> tuple[Tensor, Tensor]:
        weights, past = module(x, masks, past)
        # [B * N, H, S, W] -> [B, N * S, H, W]
        return weights.unflatten(0, (BATCH, -1)).transpose(2, 3).flatten(1, 2), past

    x = noise(BATCH, 5 * chunk, CHANNELS)
    whole, parts, past_whole, past = both_ways(
        step, torch.zeros(BATCH, left, HEADS * 4).double(), x, chunk, left, future
    )
    assert whole.shape == (BATCH, 5 * chunk, HEADS, left + chunk)
    assert largest_difference(whole, parts) < SAME
    assert largest_difference(past_whole, past) < SAME
    assert largest_difference(whole.sum(-1), torch.ones(BATCH, 5 * chunk, HEADS)) < SAME
    hidden = view_of(5, chunk, left, future).mask.unflatten(0, (BATCH, -1)) < 0
    hidden = hidden.transpose(2, 3).flatten(1, 2)  # [B, N * S, 1, W]
    assert not whole[hidden.expand_as(whole)].any(), "a hidden frame has weight exactly zero"


@sizes
@futures
@pytest.mark.parametrize("kind", ["self", "nonlinear"])
def test_values(kind: str, chunk: int, left: int, future: int | None) -> None:
    """The two kinds of averaging, behind real attention weights."""
    weights_of = made(AttentionWeights(CHANNELS, HEADS, 4, 2, 6))
    if kind == "self":
        module, width = made(SelfAttention(CHANNELS, HEADS, 5)), HEADS * 5
    else:
        module, width = made(NonlinearAttention(CHANNELS, 9)), 9

    def step(
        pasts: tuple[Tensor, Tensor], x: Tensor, masks: StackMask
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        weights, keys = weights_of(x, masks, pasts[0])
        y, values = module(x, weights, masks, pasts[1])
        return y, (keys, values)

    x = noise(BATCH, 4 * chunk, CHANNELS)
    pasts = (
        torch.zeros(BATCH, left, HEADS * 4).double(),
        torch.zeros(BATCH, left, width).double(),
    )
    whole, parts, pasts_whole, pasts = both_ways(step, pasts, x, chunk, left, future)
    assert whole.shape == x.shape
    assert largest_difference(whole, parts) < SAME
    assert largest_difference(pasts_whole[1], pasts[1]) < SAME


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@futures
@pytest.mark.parametrize("kernel", [1, 3, 7, 31])
@pytest.mark.parametrize("chunk", [8, 16])
def test_convolution(kernel: int, chunk: int, future: int | None) -> None:
    """Kernel 31 has a history (15) longer than a chunk of 8; kernel 1 has none."""
    module = made(Convolution(CHANNELS, kernel))
    x = noise(BATCH, 5 * chunk, CHANNELS)
    past = torch.zeros(BATCH, kernel // 2, CHANNELS).double()
    lengths = torch.tensor([5 * chunk, 3 * chunk + 5])

    def step(past: Tensor, x: Tensor, masks: StackMask) -> tuple[Tensor, Tensor]:
        return module(x, masks, past)  # type: ignore[no-any-return]

    whole, parts, past_whole, past = both_ways(step, past, x, chunk, 0, future, lengths)
    assert whole.shape == x.shape
    assert largest_difference(whole, parts) < SAME
    assert largest_difference(past_whole, past) < SAME


@sizes
@futures
def test_layer(chunk: int, left: int, future: int | None) -> None:
    layer = made(
        ZipformerLayer(
            CHANNELS,
            heads=HEADS,
            ffn_dim=40,
            conv_kernel=7,
            query_head_dim=4,
            value_head_dim=5,
            pos_head_dim=2,
            pos_dim=6,
            dropout=0.1,
        )
    )
    state = layer.init_state(BATCH, left)
    x = noise(BATCH, 4 * chunk, CHANNELS)

    def step(state: Any, x: Tensor, masks: StackMask) -> tuple[Tensor, Any]:
        return layer(x, masks, state)  # type: ignore[no-any-return]

    whole, parts, state_whole, state = both_ways(step, state, x, chunk, left, future)
    assert largest_difference(whole, parts) < SAME
    others = dict(state.named_tensors())
    for name, tensor in state_whole.named_tensors():
        assert tensor.is_contiguous()
        assert largest_difference(tensor, others[name]) < SAME, name


@pytest.mark.parametrize("index", range(6))
def test_stack(index: int) -> None:
    """Every stack, at its own rate, in and out at 50 Hz; the last chunk is partial."""
    stack = made(Stack(small_config(), index))
    x = noise(BATCH, 64, 20)
    lengths = torch.tensor([64, 51])

    def run(x: Tensor, before: int, lengths: Tensor, chunks: int, state: Any) -> tuple[Tensor, Any]:
        all_masks = {
            rate: stack_mask(
                torch.full((BATCH,), before),
                lengths,
                num_chunks=chunks,
                chunk_size=16,
                left_context=32,
                max_future_frames=1,
                downsampling=rate,
            )
            for rate in (1, stack.downsampling)
        }
        return stack(x, all_masks[1].valid.double(), all_masks, state)  # type: ignore[no-any-return]

    whole, _ = run(x, 0, lengths, 4, stack.init_state(BATCH, 32))
    state, parts = stack.init_state(BATCH, 32), []
    for k in range(4):
        y, state = run(
            x[:, 16 * k : 16 * k + 16], 16 * k, (lengths - 16 * k).clamp(0, 16), 1, state
        )
        parts.append(y)
    valid = (torch.arange(64) < lengths[:, None])[:, :, None]
    assert whole.shape == (BATCH, 64, stack.channels)
    assert largest_difference(whole * valid, torch.cat(parts, dim=1) * valid) < SAME


@pytest.mark.parametrize("cuts", [[2, 4], [10, 10, 30], [39 * 2]])
def test_stem(cuts: list[int]) -> None:
    stem = made(Stem(INPUT_DIM, (2, 3, 4), 16))
    features = noise(BATCH, 80, INPUT_DIM)
    whole, state_whole = stem(features, stem.init_state(BATCH))
    assert whole.shape == (BATCH, 40, 16)
    state, parts, edges = stem.init_state(BATCH), [], [0, *cuts, 80]
    for start, end in zip(edges, edges[1:], strict=False):
        if end > start:
            y, state = stem(features[:, start:end], state)
            parts.append(y)
    assert largest_difference(whole, torch.cat(parts, dim=1)) < SAME
    assert torch.equal(state.features, features[:, -7:])
    assert torch.equal(state_whole.features, features[:, -7:])


def test_stem_window() -> None:
    """Encoder frame t is made of feature frames 2 t - 7 to 2 t + 1."""
    stem = made(Stem(INPUT_DIM, (2, 3, 4), 16))
    features = noise(1, 40, INPUT_DIM)
    y = stem(features, stem.init_state(1))[0]
    for frame in (0, 1, 12, 13, 39):
        other = features.clone()
        other[:, frame] += 1.0
        changed = (stem(other, stem.init_state(1))[0] != y).any(dim=2)[0].nonzero()[:, 0].tolist()
        assert changed == [t for t in range(20) if 2 * t - 7 <= frame <= 2 * t + 1]


@pytest.mark.parametrize("chunk", [8, 16, 24, 64])
@pytest.mark.parametrize("size, segment", [(1, 8), (4, 16), (2, 24), (3, 40)])
def test_memory_bank(chunk: int, size: int, segment: int) -> None:
    """Segments and chunks of any two sizes, and a ring that has wrapped."""
    module = made(MemoryBank(CHANNELS, size, segment, dim=10, heads=2))
    frames = 192
    x = noise(BATCH, frames, CHANNELS)

    def step(state: Any, x: Tensor, before: int) -> tuple[Tensor, Any]:
        heard = torch.full((BATCH,), before)
        masks = memory_mask(heard, x.shape[1] // 8, size, segment // 8)
        return module(x, None, masks, state)  # type: ignore[no-any-return]

    whole, state_whole = step(module.init_state(BATCH), x, 0)
    state, parts = module.init_state(BATCH), []
    for start in range(0, frames, chunk):
        y, state = step(state, x[:, start : start + chunk], start)
        parts.append(y)
    assert largest_difference(whole, torch.cat(parts, dim=1)) < SAME
    assert largest_difference(state_whole.groups, state.groups) < SAME
    assert state.groups.shape == (BATCH, (size + 1) * (segment // 8) - 1, CHANNELS)


@pytest.mark.parametrize("per_piece", [1, 2, 3, 6])
def test_frames_of_a_piece_read_the_memory_together(per_piece: int) -> None:
    """Segments of 6 groups, cut into pieces of any size, from anywhere in a segment."""
    module = made(MemoryBank(CHANNELS, 3, 48, dim=10, heads=2))
    state = MemoryState(noise(*module.init_state(BATCH).groups.shape))
    heard = 8 * per_piece * torch.arange(BATCH)
    x = noise(BATCH, 96, CHANNELS)
    pieces = memory_mask(heard, 12, 3, 6, per_piece)
    assert pieces.rows.shape[1] == 12 // per_piece
    expected = module(x, None, memory_mask(heard, 12, 3, 6), state)[0]
    assert largest_difference(module(x, None, pieces, state)[0], expected) < SAME


def test_memory_bank_reads_complete_segments_only() -> None:
    """Segments of 16 frames, M = 2: a change in segment 1 is read in segments 2 and 3."""
    module = made(MemoryBank(CHANNELS, 2, 16, dim=10, heads=2))
    x = noise(1, 112, CHANNELS)
    other = x.clone()
    other[:, 31] += 1.0
    masks = memory_mask(torch.zeros(1, dtype=torch.int64), 14, 2, 2)
    read, read_other = (module(s, None, masks, module.init_state(1))[0] - s for s in (x, other))
    changed = (read != read_other).any(dim=2)[0].nonzero()[:, 0].tolist()
    # Adding and taking away x leaves rounding in the changed frame itself, whose query differs.
    assert [t for t in changed if t != 31] == list(range(32, 64))


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_downsample_by_hand(factor: int) -> None:
    """Groups of frames with softmax weights; a short last group is scaled up to sum to one."""
    module = made(Downsample(factor))
    x = noise(1, 3 * factor, CHANNELS)
    for length in range(2 * factor, 3 * factor + 1):
        valid = (torch.arange(3 * factor) < length).double()[None, :, None]
        y = module(x, valid)
        shares = module.weight.softmax(0)
        for group in range(3):
            count = min(factor, length - group * factor)
            own = x[0, group * factor : group * factor + count]
            expected = torch.zeros(CHANNELS).double()
            for frame in range(count):
                expected += shares[frame] / shares[:count].sum() * own[frame]
            assert largest_difference(y[0, group], expected) < SAME
        # What lies after the end does not matter.
        assert torch.equal(module(x * valid, valid), y)


@pytest.mark.parametrize("left, chunk", [(0, 1), (3, 1), (0, 4), (2, 3), (5, 8)])
def test_positions_are_aligned_with_keys(left: int, chunk: int) -> None:
    """Query i, window column w: key - query = w - left - i, row (left + chunk - 1) further on."""
    rows = left + 2 * chunk - 1
    scores = torch.arange(2 * chunk * rows).double().view(2, chunk, rows)
    aligned = align_positions(scores, left + chunk)
    assert aligned.shape == (2, chunk, left + chunk)
    for i in range(chunk):
        for w in range(left + chunk):
            row = (w - left - i) + left + chunk - 1
            assert torch.equal(aligned[:, i, w], scores[:, i, row])


def test_heads_are_split_and_joined() -> None:
    masks = view_of(3, 8, 0, None)
    x = noise(BATCH, 24, 12)
    split = split_heads(x, masks, 3)
    assert split.shape == (BATCH * 3, 3, 8, 4)
    assert torch.equal(split[4, 2, 5], x[1, 13, 8:12]), "stream 1, chunk 1, head 2, frame 5"
    assert torch.equal(join_heads(split, BATCH), x)


@pytest.mark.parametrize("past, new", [(0, 3), (2, 1), (5, 3), (3, 5)])
def test_extend(past: int, new: int) -> None:
    x = torch.arange(float(past + new)).view(1, -1, 1)
    whole, kept = extend(x[:, :past], x[:, past:])
    assert torch.equal(whole, x)
    assert torch.equal(kept, x[:, new:])
    assert torch.equal(advance(x[:, :past], x[:, past:]), kept)


def test_activations_by_hand() -> None:
    x = torch.tensor([0.0, 1.0, 4.0]).double()
    assert swoosh_r(x).tolist() == pytest.approx(
        [0.0, math.log(2) - 0.08 - 0.313261687, math.log(1 + math.exp(3)) - 0.32 - 0.313261687],
        abs=1e-8,
    )
    assert swoosh_l(x).tolist() == pytest.approx(
        [
            math.log(1 + math.exp(-4)) - 0.035,
            math.log(1 + math.exp(-3)) - 0.08 - 0.035,
            math.log(2) - 0.32 - 0.035,
        ],
        abs=1e-12,
    )


def test_norm_and_bypass_by_hand() -> None:
    """x - bias = (2, 2): rms 2, so x / 2 * e^scale."""
    norm = BiasNorm(2).double()
    with torch.no_grad():
        norm.bias.copy_(torch.tensor([1.0, -3.0]))
        norm.log_scale.fill_(math.log(5.0))
    assert norm(torch.tensor([3.0, -1.0]).double()).tolist() == pytest.approx([7.5, -2.5])
    assert norm(torch.zeros(2).double() + norm.bias).isfinite().all()
    bypass = Bypass(2).double()
    with torch.no_grad():
        bypass.scale.copy_(torch.tensor([0.25, 1.0]))
    mixed = bypass(torch.tensor([4.0, 4.0]).double(), torch.tensor([8.0, 8.0]).double())
    assert mixed.tolist() == [5.0, 8.0]
