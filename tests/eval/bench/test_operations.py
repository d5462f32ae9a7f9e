"""Multiply-adds against a count by hand from the configuration."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from echostream.config import EncoderConfig
from echostream.constants import DOWNSAMPLING
from echostream.encoder import ZipformerEncoder
from eval.bench.limits import (
    Demand,
    chunk_multiply_adds,
    multiply_adds,
    weight_bytes,
)
from tests.encoder.small_encoder import small_config


def by_hand(config: EncoderConfig, chunk: int, future: int | None) -> int:
    """One chunk of one stream: every product and convolution of the encoder's description."""
    total = stem(config, chunk)
    for index, rate in enumerate(DOWNSAMPLING):
        frames, left = chunk // rate, config.left_context // rate
        total += config.layers[index] * layer(config, index, frames, left, future)
    return total + memory(config, chunk)


def stem(config: EncoderConfig, chunk: int) -> int:
    first, second, third = config.stem_channels
    half = -(-config.input_dim // 2)
    quarter = -(-half // 2)
    # Two feature frames for each encoder frame, and seven of the past; each convolution takes two.
    return (
        (2 * chunk + 5) * config.input_dim * 9 * first
        + (chunk + 2) * half * 9 * first * second
        + chunk * quarter * 9 * second * third
        + chunk * quarter * third * config.widths[0]
    )


def layer(config: EncoderConfig, index: int, frames: int, left: int, future: int | None) -> int:
    channels, heads = config.widths[index], config.heads[index]
    history = config.conv_kernels[index] // 2
    ahead = min(history, frames - 1 if future is None else min(future, frames - 1))
    window, relative = left + frames, left + 2 * frames - 1
    query, value, position = config.query_head_dim, config.value_head_dim, config.pos_head_dim
    gated = 3 * channels // 4
    hidden = sum(max(1, round(config.ffn_dims[index] * part / 5 / 16)) * 16 for part in (3, 4, 5))
    per_frame = (
        channels * heads * (2 * query + position)  # queries, keys, position queries
        + heads * (query * window + position * relative)  # scores
        + 2 * channels * hidden  # in and out of three feed-forward modules
        + channels * 3 * gated + window * gated + gated * channels  # non-linear attention
        + 2 * heads * value * (channels + window + channels)  # self-attention, twice
        + 2 * channels * (2 * channels + history + 1 + ahead + channels)  # convolution, twice
    )  # fmt: skip
    return frames * per_frame


def memory(config: EncoderConfig, chunk: int) -> int:
    if config.memory_size == 0:
        return 0
    channels, size = config.output_dim, config.memory_size
    heads = max(config.heads)
    attention = config.memory_dim // heads * heads
    pieces = chunk // math.gcd(chunk, config.memory_segment)
    return (
        pieces * size * channels * channels  # summaries
        + pieces * (size + 1) * channels * 2 * attention  # keys and values
        + chunk * attention * (channels + 2 * (size + 1) + channels)  # queries, mixing, output
    )


@pytest.mark.parametrize("chunk", [8, 16, 64])
@pytest.mark.parametrize(
    ("future", "changes"),
    [(None, {}), (0, {}), (1, {}), (None, {"memory_size": 0})],
)
def test_the_count_is_the_one_by_hand(
    chunk: int, future: int | None, changes: dict[str, int]
) -> None:
    config = small_config(left_context=32, **changes)
    encoder = ZipformerEncoder.from_config(config).eval()
    for _ in range(2):  # What is prepared once is not counted.
        assert chunk_multiply_adds(encoder, chunk, future) == by_hand(config, chunk, future)


def test_products_and_convolutions_are_counted_and_weights_once() -> None:
    assert multiply_adds(lambda: torch.randn(3, 5) @ torch.randn(5, 7)) == 3 * 5 * 7
    depthwise = nn.Conv1d(6, 6, 5, groups=6)
    assert multiply_adds(lambda: depthwise(torch.randn(2, 6, 12))) == 2 * 6 * 8 * 5
    assert weight_bytes(nn.Linear(3, 4)) == 4 * (12 + 4)
    assert Demand(12, 64).times(5) == Demand(60, 64)
