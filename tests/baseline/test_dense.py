"""``forward`` equals a second implementation that is written from the description."""

from __future__ import annotations

import math

import pytest
import torch

from echostream.baseline import ChunkConformerEncoder
from echostream.baseline.attention import relative_positions

from .dense_conformer import DenseConformer
from .small_conformer import (
    INPUT_DIM,
    SETTINGS,
    largest_difference,
    noise,
    randomise,
    small_encoder,
)


@pytest.mark.parametrize(("chunk", "conv_chunk"), SETTINGS)
def test_every_chunk_setting(chunk: int, conv_chunk: int) -> None:
    encoder = small_encoder()
    dense = DenseConformer(encoder.state_dict(), num_heads=2)
    for total in (1, 2, 31, 139):
        features = noise(1, total, INPUT_DIM, seed=total)
        out = encoder(features, chunk_size=chunk, conv_chunk_size=conv_chunk)
        y = out["encoder_out"][0]
        assert out["encoder_out_lengths"].tolist() == [len(y)] == [-(-total // 4)]
        assert largest_difference(y, dense(features[0], chunk, conv_chunk)) < 1e-6


def test_settings_differ() -> None:
    """The test above could not fail if the chunk changed nothing."""
    encoder = small_encoder()
    features = noise(1, 300, INPUT_DIM)
    outputs = [
        encoder(features, chunk_size=chunk, conv_chunk_size=conv_chunk)["encoder_out"]
        for chunk, conv_chunk in SETTINGS
        if chunk not in (0, 999999)  # as -1 and 99999
    ]
    for index, a in enumerate(outputs):
        for b in outputs[:index]:
            assert largest_difference(a, b) > 1e-3


def test_published_sizes() -> None:
    encoder = ChunkConformerEncoder().eval().requires_grad_(False)
    randomise(encoder)
    encoder.double()
    dense = DenseConformer(encoder.state_dict(), num_heads=4)
    features = noise(1, 77, 80)
    for chunk, conv_chunk in ((8, 8), (24, 16), (7, 7)):
        y = encoder(features, chunk_size=chunk, conv_chunk_size=conv_chunk)["encoder_out"][0]
        assert largest_difference(y, dense(features[0], chunk, conv_chunk)) < 1e-6
    single = encoder.float()(features.float(), chunk_size=8)["encoder_out"][0]
    assert largest_difference(single.double(), dense(features[0], 8, 8)) < 1e-4


@pytest.mark.parametrize("chunk", [-1, 1, 8, 15, 16, 24, 32, 99999])
def test_convolution_chunk_follows_the_attention_chunk(chunk: int) -> None:
    encoder = small_encoder()
    features = noise(1, 200, INPUT_DIM)
    explicit = encoder(features, chunk_size=chunk, conv_chunk_size=min(chunk, 16))
    assert torch.equal(encoder(features, chunk_size=chunk)["encoder_out"], explicit["encoder_out"])


def test_config_chunk_is_the_default() -> None:
    encoder = small_encoder()
    features = noise(1, 200, INPUT_DIM)
    expected = encoder(features, chunk_size=8, conv_chunk_size=8)["encoder_out"]
    assert torch.equal(encoder(features)["encoder_out"], expected)


@pytest.mark.parametrize(("num_keys", "frames"), [(1, 1), (8, 8), (512, 8), (513, 3), (9000, 600)])
def test_positions_of_any_length(num_keys: int, frames: int) -> None:
    """Query minus key from the first key of the last query to the last key of the first one."""
    table = relative_positions(num_keys, frames, 16, torch.device("cpu"), torch.float32)
    distances = range(num_keys - 1, -frames, -1)
    assert table.shape == (len(distances), 16)
    for row in {0, len(distances) // 2, num_keys - 1, len(distances) - 1}:
        for column in range(8):
            # In double precision; a float32 angle of up to 9000 is known to 5e-4.
            angle = distances[row] * 10000 ** (-2 * column / 16)
            assert abs(float(table[row, 2 * column]) - math.sin(angle)) < 1e-3
            assert abs(float(table[row, 2 * column + 1]) - math.cos(angle)) < 1e-3


def test_both_orders_of_the_position_product() -> None:
    """One chunk is multiplied from the left, many frames from the right."""
    attention = small_encoder().conformer_layers[0].self_attn
    query = noise(1, 2, 40, 8)
    together = attention._position_scores(query, 90)
    for first in range(0, 40, 10):
        # Ten frames, fewer than the 16 channels; their keys end with the last of the ten.
        alone = attention._position_scores(query[:, :, first : first + 10], 50 + first + 10)
        assert largest_difference(alone, together[:, :, first : first + 10, : 60 + first]) < 1e-12


def test_table_made_for_inference_serves_training() -> None:
    encoder = ChunkConformerEncoder(6, 16, 24, 1, 2, 20, 7)
    features = noise(1, 5000, 6, dtype=torch.float32)
    with torch.inference_mode():
        encoder(features)
    encoder(features)["encoder_out"].sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
