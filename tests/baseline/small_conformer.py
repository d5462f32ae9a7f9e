"""A small chunk-Conformer with every weight and statistic drawn at random."""

import functools

import torch

from echostream.baseline import ChunkConformerEncoder
from tests.encoder.small_encoder import randomise

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


@functools.cache
def small_conformer(
    dtype: torch.dtype = torch.float64,
    *,
    conv_kernel: int = 7,
    num_layers: int = 2,
    subsampling: int = 4,
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
        subsampling=subsampling,
    )
    randomise(encoder)
    return encoder.to(dtype).eval().requires_grad_(False)
