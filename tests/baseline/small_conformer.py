"""A small chunk-Conformer with every weight and statistic drawn at random, and ways to drive it."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from echostream.baseline import ChunkConformerEncoder, ChunkConformerState

INPUT_DIM = 6

STREAMED = ((2, 2), (4, 4), (8, 8), (14, 14), (16, 16), (32, 16), (48, 16), (16, 8), (24, 8))
"""Attention and convolution chunks whose frames never change once a chunk is complete."""
REVISED = ((24, 16), (40, 16), (10, 8))
"""Attention and convolution chunks that end at different frames."""
WARPED = ((1, 1), (3, 3), (5, 5), (7, 7), (9, 9), (15, 15), (16, 3))
"""Odd convolution chunks, of which the subsampler makes a frame too many each."""
WHOLE = ((-1, -1), (0, 0), (99999, 99999), (8, 999))
"""The convolutions look ahead to the end of the recording."""
OFFLINE = ((99999, 16), (999999, 999999))
SETTINGS = STREAMED + REVISED + WARPED + WHOLE + OFFLINE


def randomise(module: nn.Module, seed: int = 0) -> None:
    """Draw everything, batch statistics too, so that each number matters and nothing saturates."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=draw, dtype=torch.float64)
            if name.endswith("running_var"):
                value = 0.5 + noise.abs()
            elif "norm.weight" in name:
                value = 1 + 0.3 * noise
            elif tensor.dim() > 1 and "pos_bias" not in name:
                value = noise / max(1, tensor[0].numel()) ** 0.5
            else:
                value = 0.5 * noise
            tensor.copy_(value)


@functools.cache
def small_encoder(
    dtype: torch.dtype = torch.float64, *, conv_kernel: int = 7, num_layers: int = 2
) -> ChunkConformerEncoder:
    """Shared between tests: never change its weights."""
    encoder = ChunkConformerEncoder(
        input_dim=INPUT_DIM,
        embed_dim=16,
        ffn_dim=24,
        num_layers=num_layers,
        num_heads=2,
        conv_channels=20,
        conv_kernel=conv_kernel,
    )
    randomise(encoder)
    return encoder.to(dtype).eval().requires_grad_(False)


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=draw, dtype=torch.float64).to(dtype)


def push(
    encoder: ChunkConformerEncoder,
    features: Tensor,
    cuts: Sequence[int],
    state: ChunkConformerState,
) -> tuple[Tensor, ChunkConformerState]:
    """Step recordings ``[B, T, F]`` cut at ``cuts`` (ascending) to their end."""
    outputs = []
    edges = [0, *cuts, features.shape[1]]
    for index in range(len(edges) - 1):
        piece = features[:, edges[index] : edges[index + 1]]
        y, lengths, state = encoder.step(piece, state, is_final=index == len(edges) - 2)
        assert lengths.tolist() == [y.shape[1]] * features.shape[0]
        outputs.append(y)
    return torch.cat(outputs, dim=1), state


def largest_difference(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape, (a.shape, b.shape)
    return float((a - b).abs().max()) if a.numel() else 0.0
