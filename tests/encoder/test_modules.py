"""Modules in sizes that the small encoder does not have: one call equals a call for each chunk."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from echostream.encoder.convolution import Convolution
from echostream.encoder.ct_mask import stack_mask
from echostream.encoder.memory_bank import MemoryBank, MemoryState, memory_mask

from .small_encoder import largest_difference, noise, randomise

BATCH = 2
CHANNELS = 12
SAME = 1e-12


def made(module: nn.Module) -> Any:
    randomise(module)
    return module.double().eval().requires_grad_(False)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize("future", [None, 0, 1])
@pytest.mark.parametrize("kernel", [1, 3, 31])
@pytest.mark.parametrize("chunk", [8, 16])
def test_convolution(kernel: int, chunk: int, future: int | None) -> None:
    """Kernel 31 has a history (15) longer than a chunk of 8; kernel 1 has none."""
    module = made(Convolution(CHANNELS, kernel))
    x = noise(BATCH, 5 * chunk, CHANNELS)
    start = torch.zeros(BATCH, kernel // 2, CHANNELS).double()
    lengths = torch.tensor([5 * chunk, 3 * chunk + 5])

    def run(past: Tensor, first: int, chunks: int) -> Any:
        masks = stack_mask(
            torch.full((BATCH,), first * chunk),
            (lengths - first * chunk).clamp(0, chunks * chunk),
            num_chunks=chunks,
            chunk_size=chunk,
            left_context=0,
            max_future_frames=future,
            downsampling=1,
        )
        return module(x[:, first * chunk : (first + chunks) * chunk], masks, past)

    whole, past_whole = run(start, 0, 5)
    past, parts = start, []
    for k in range(5):
        y, past = run(past, k, 1)
        parts.append(y)
    assert largest_difference(whole, torch.cat(parts, dim=1)) < SAME
    assert largest_difference(past_whole, past) < SAME


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
