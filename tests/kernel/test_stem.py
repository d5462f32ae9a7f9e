"""The stem's convolutions, against the same in float64."""

from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from echostream.kernel import TILE, Kernel, pack_weights, pack_weights_int8

from .needs import needs_compiler, needs_int8
from .reference import stem_int8, swoosh_r, torch_threads

pytestmark = needs_compiler

STRIDES = ((1, 1), (2, 2), (1, 2))


INT8 = [pytest.param(channels, "int8", marks=needs_int8) for channels in ((8, 32, 64), (4, 12, 17))]


class Sizes(NamedTuple):
    batch: int
    frames: int
    bins: int
    channels: tuple[int, int, int]


sizes = st.builds(
    Sizes,
    batch=st.integers(1, 3),
    frames=st.integers(9, 40),
    bins=st.integers(1, 85),
    channels=st.tuples(st.integers(1, 9), st.integers(1, 20), st.integers(1, 40)),
)


channels_int8 = st.tuples(st.sampled_from((4, 8, 12)), st.sampled_from((4, 20)), st.integers(1, 70))


def layers_of(s: Sizes) -> tuple[list[Tensor], list[Tensor]]:
    """Weights ``[N, I, 3, 3]`` that keep numbers near 1, and biases."""
    inputs = (1, *s.channels[:2])
    weights = [
        torch.randn(n, i, 3, 3) / (9 * i) ** 0.5 for n, i in zip(s.channels, inputs, strict=True)
    ]
    return weights, [torch.randn(n) for n in s.channels]


def in_order(
    weights: list[Tensor], biases: list[Tensor], precision: str = "float32"
) -> list[Tensor]:
    others = pack_weights if precision == "float32" else pack_weights_int8
    return [
        arrange(weight.permute(0, 2, 3, 1).flatten(1), bias)
        for arrange, weight, bias in zip(
            (pack_weights, others, others), weights, biases, strict=True
        )
    ]


def stem(
    kernel: Kernel, features: Tensor, layers: list[Tensor], outputs: tuple[int, int, int]
) -> Tensor:
    """In int8 if the last layer is."""
    tiles, inputs = -(-outputs[2] // TILE), 9 * outputs[1]
    int8 = len(layers[2]) != tiles * TILE * (inputs + 1)
    return (kernel.stem_int8 if int8 else kernel.stem)(features, layers, outputs)


@settings(deadline=None, max_examples=80)
@given(s=sizes, seed=st.integers(0, 99))
def test_equals_three_convolutions(kernel: Kernel, s: Sizes, seed: int) -> None:
    torch.manual_seed(seed)
    features = torch.randn(s.batch, s.frames, s.bins)
    weights, biases = layers_of(s)
    layers = in_order(weights, biases)
    y = kernel.stem(features, layers, s.channels)
    x = features.double().unsqueeze(1)
    for weight, bias, stride in zip(weights, biases, STRIDES, strict=True):
        x = swoosh_r(functional.conv2d(x, weight.double(), bias.double(), stride, (0, 1)))
    torch.testing.assert_close(y.double(), x.transpose(1, 2).flatten(2), atol=1e-5, rtol=1e-5)
    for b in range(s.batch):
        assert torch.equal(kernel.stem(features[b : b + 1], layers, s.channels)[0], y[b])


@needs_int8
@settings(deadline=None, max_examples=60)
@given(s=sizes, channels=channels_int8, seed=st.integers(0, 99))
def test_int8_is_the_reference(
    kernel: Kernel, s: Sizes, channels: tuple[int, int, int], seed: int
) -> None:
    """But for values that lie between two steps, which either may become."""
    s = s._replace(channels=channels)
    torch.manual_seed(seed)
    features = torch.randn(s.batch, s.frames, s.bins)
    layers = in_order(*layers_of(s), "int8")
    y = stem(kernel, features, layers, s.channels)
    off = (y - stem_int8(features, layers, s.channels)).abs()
    assert float(off.max()) < 0.02
    assert float(off.sum()) < 1e-3 * off.numel() + 0.02
    for b in range(s.batch):
        assert torch.equal(stem(kernel, features[b : b + 1], layers, s.channels)[0], y[b])


@needs_int8
@pytest.mark.parametrize("loud", [1.0, 100.0])
def test_int8_is_near_the_stem(kernel: Kernel, loud: float) -> None:
    """Frames of any loudness side by side, as each has a scale of its own."""
    torch.manual_seed(0)
    s = Sizes(2, 39, 80, (8, 32, 64))
    features = torch.randn(2, 39, 80)
    features[:, 20:] *= loud
    weights, biases = layers_of(s)
    y = stem(kernel, features, in_order(weights, biases, "int8"), s.channels)
    exact = stem(kernel, features, in_order(weights, biases), s.channels)
    off, sizes = ((y - exact) ** 2).mean((0, 2)).sqrt(), (exact**2).mean((0, 2)).sqrt()
    assert float((off / sizes).max()) < 0.03


@pytest.mark.parametrize(
    "channels, precision", [(c, "float32") for c in ((8, 32, 64), (3, 5, 17))] + INT8
)
def test_frames_and_threads_change_no_bit(
    kernel: Kernel, channels: tuple[int, int, int], precision: str
) -> None:
    """Two frames further on in the features is a frame further on in the result."""
    torch.manual_seed(0)
    s = Sizes(2, 39, 80, channels)
    features, layers = torch.randn(2, 39, 80), in_order(*layers_of(s), precision)
    y = stem(kernel, features, layers, channels)
    for frame in range(0, y.shape[1], 5):
        part = features[:, 2 * frame : 2 * frame + 9]
        assert torch.equal(stem(kernel, part, layers, channels)[:, 0], y[:, frame])
    with torch_threads(2):
        assert torch.equal(stem(kernel, features, layers, channels), y)


@pytest.mark.parametrize("channels, precision", [((8, 32, 64), "float32"), *INT8])
def test_what_is_not_finite_stays_with_its_stream(
    kernel: Kernel, channels: tuple[int, int, int], precision: str
) -> None:
    torch.manual_seed(0)
    s = Sizes(3, 39, 80, channels)
    features, layers = torch.randn(3, 39, 80), in_order(*layers_of(s), precision)
    before = stem(kernel, features, layers, channels)
    features[1] = float("nan")
    after = stem(kernel, features, layers, channels)
    assert torch.equal(after[[0, 2]], before[[0, 2]])
    assert bool(after[1].isnan().all())
