"""``forward`` equals a second implementation; dropout with cheap masks does what PyTorch's does."""

import math

import pytest
import torch

from echostream.baseline import ChunkConformerEncoder
from echostream.baseline.attention import Dropout
from tests.encoder.small_encoder import largest_difference, noise, push, randomise

from .dense_conformer import DenseConformer
from .small_conformer import INPUT_DIM, SETTINGS, small_conformer


@pytest.mark.parametrize("subsampling", [4, 2])
@pytest.mark.parametrize(("chunk", "conv_chunk"), SETTINGS)
def test_every_chunk_setting(chunk: int, conv_chunk: int, subsampling: int) -> None:
    encoder = small_conformer(subsampling=subsampling)
    dense = DenseConformer(encoder.state_dict(), 2, subsampling)
    for total in (1, 2, 31, 139):
        features = noise(1, total, INPUT_DIM, seed=total)
        out = encoder(features, chunk_size=chunk, conv_chunk_size=conv_chunk)
        y = out["encoder_out"][0]
        assert out["encoder_out_lengths"].tolist() == [len(y)] == [-(-total // subsampling)]
        assert largest_difference(y, dense(features[0], chunk, conv_chunk)) < 1e-6


def test_published_sizes() -> None:
    """Three of the twelve layers, which are alike."""
    encoder = ChunkConformerEncoder(num_layers=3).eval().requires_grad_(False)
    randomise(encoder)
    encoder.double()
    dense = DenseConformer(encoder.state_dict(), num_heads=4)
    features = noise(1, 77, 80)
    for chunk, conv_chunk in ((8, 8), (24, 16), (7, 7)):
        y = encoder(features, chunk_size=chunk, conv_chunk_size=conv_chunk)["encoder_out"][0]
        assert largest_difference(y, dense(features[0], chunk, conv_chunk)) < 1e-6
    single = encoder.float()(features.float(), chunk_size=8)["encoder_out"]
    assert largest_difference(single[0].double(), dense(features[0], 8, 8)) < 1e-4
    for mode in ("cached", "recompute"):
        y, _ = push(encoder, features.float(), [40, 41, 60], encoder.init_state(mode=mode))
        assert largest_difference(y, single) < 1e-5, mode


@pytest.mark.parametrize("chunk", [-1, 1, 8, 15, 16, 24, 32, 99999])
def test_convolution_chunk_follows_the_attention_chunk(chunk: int) -> None:
    encoder = small_conformer()
    features = noise(1, 200, INPUT_DIM)
    explicit = encoder(features, chunk_size=chunk, conv_chunk_size=min(chunk, 16))
    assert torch.equal(encoder(features, chunk_size=chunk)["encoder_out"], explicit["encoder_out"])


def test_config_chunk_is_the_default() -> None:
    encoder = small_conformer()
    features = noise(1, 200, INPUT_DIM)
    expected = encoder(features, chunk_size=8, conv_chunk_size=8)["encoder_out"]
    assert torch.equal(encoder(features)["encoder_out"], expected)


def test_table_made_for_inference_serves_training() -> None:
    sizes = {"ffn_dim": 24, "num_layers": 1, "num_heads": 2, "conv_channels": 20, "conv_kernel": 7}
    encoder = ChunkConformerEncoder(input_dim=6, embed_dim=16, **sizes)
    features = noise(1, 5000, 6, dtype=torch.float32)
    with torch.inference_mode():
        encoder(features)
    encoder(features)["encoder_out"].sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_rate_and_scale(rate: float) -> None:
    torch.manual_seed(1)
    # Not a multiple of four, since four numbers come from one draw.
    x = torch.ones(3, 333, 101)
    y = Dropout(rate).train()(x)
    dropped = float((y == 0).float().mean())
    assert dropped == pytest.approx(rate, abs=5 * math.sqrt(rate * (1 - rate) / x.numel()))
    kept = y[y != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - rate)), rtol=1e-3, atol=0.0)


def test_neighbours_are_dropped_independently() -> None:
    torch.manual_seed(1)
    dropped = (Dropout(0.5).train()(torch.ones(400_000)) == 0).float() - 0.5
    for lag in (1, 2, 3, 4):
        assert abs(float((dropped[lag:] * dropped[:-lag]).mean())) < 5 * 0.25 / math.sqrt(400_000)


def test_gradient_is_the_mask() -> None:
    x = torch.randn(50, 7, requires_grad=True)
    y = Dropout(0.3).train()(x)
    y.sum().backward()
    torch.testing.assert_close(y, x * x.grad)


def test_evaluation_and_extremes() -> None:
    x = torch.randn(20)
    assert torch.equal(Dropout(0.4).eval()(x), x)
    assert torch.equal(Dropout(0.0).train()(x), x)
    assert torch.equal(Dropout(1.0).train()(x), torch.zeros(20))


def test_the_seed_decides() -> None:
    x = torch.ones(100)
    module = Dropout(0.5).train()
    first, other = (module(x) for _ in range(2) if torch.manual_seed(3) is not None)
    assert torch.equal(first, other) and not torch.equal(first, module(x))
