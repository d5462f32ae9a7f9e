"""The chunk-Conformer a second time, frame by frame in numpy float64, from its description.

Nothing of ``echostream.baseline`` is called: the state dict is all that the two share. Every
convolution tap and every pair of frames is written out, so there is no unfolding, no shifting of
relative positions, no cache and no padding.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]


class DenseConformer:
    """``[T, F]`` features of one recording to ``[ceil(T / subsampling), C]`` frames."""

    def __init__(self, weights: Mapping[str, Tensor], num_heads: int, subsampling: int = 4) -> None:
        self.strides = (2, subsampling // 2)
        self.weights = {name: tensor.double().numpy() for name, tensor in weights.items()}
        self.heads = num_heads

    def __call__(self, features: Tensor, chunk: int, conv_chunk: int) -> Tensor:
        x = features.double().numpy()
        for number, stride in enumerate(self.strides):
            name = f"subsample.conv_layers.{number}"
            y = self.convolve(x, f"{name}.weight", conv_chunk, stride)
            x = gated(y + self.weights[f"{name}.bias"])
        width = x.shape[1]
        x = self.affine(x * width**0.5, "linear")
        number = 0
        while f"conformer_layers.{number}.ffn1.w_1.weight" in self.weights:
            x = self.layer(x, f"conformer_layers.{number}.", chunk, conv_chunk)
            number += 1
        return torch.from_numpy(x)

    def layer(self, x: Array, name: str, chunk: int, conv_chunk: int) -> Array:
        x = x + self.feed_forward(x, f"{name}ffn1.") / 2
        x = x + self.attention(self.norm(x, f"{name}self_attn_layer_norm"), name, chunk)
        x = x + self.convolution(x, f"{name}conv_module.", conv_chunk)
        x = x + self.feed_forward(x, f"{name}ffn2.") / 2
        return self.norm(x, f"{name}final_layer_norm")

    def feed_forward(self, x: Array, name: str) -> Array:
        inner = self.affine(self.norm(x, f"{name}layer_norm"), f"{name}w_1")
        return self.affine(inner * sigmoid(inner), f"{name}w_2")

    def attention(self, x: Array, name: str, chunk: int) -> Array:
        name += "self_attn."
        frames, width = x.shape
        size = width // self.heads
        query, key, value = (self.affine(x, f"{name}linear_{letter}") for letter in "qkv")
        positions = np.stack(
            [[encoding(i - j, width) for j in range(frames)] for i in range(frames)]
        )
        positions = product(positions, self.weights[f"{name}linear_pos.weight"])  # [i, j, C]
        u, v = self.weights[f"{name}pos_bias_u"], self.weights[f"{name}pos_bias_v"]
        chunk = max(chunk, 1)
        mixed = np.zeros_like(x)
        for head in range(self.heads):
            own = slice(head * size, (head + 1) * size)
            for i in range(frames):
                seen = range(min(frames, (i // chunk + 1) * chunk))
                scores = np.array(
                    [
                        (query[i, own] + u[head]) @ key[j, own]
                        + (query[i, own] + v[head]) @ positions[i, j, own]
                        for j in seen
                    ]
                )
                weights = np.exp((scores - scores.max()) / size**0.5)
                mixed[i, own] = (weights / weights.sum()) @ value[: len(seen), own]
        return self.affine(mixed, f"{name}linear_out")

    def convolution(self, x: Array, name: str, conv_chunk: int) -> Array:
        widened, narrowed = (
            self.weights[f"{name}pointwise_conv{number}.weight"][..., 0] for number in (1, 2)
        )
        x = gated(product(self.norm(x, f"{name}layer_norm"), widened))
        x = self.convolve(x, f"{name}depthwise_conv.weight", conv_chunk, stride=1)
        mean, variance, gain, bias = (
            self.weights[f"{name}batch_norm.{part}"]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        x = (x - mean) / np.sqrt(variance + 1e-5) * gain + bias
        return product(x * sigmoid(x), narrowed)

    def convolve(self, x: Array, name: str, conv_chunk: int, stride: int) -> Array:
        """Each window of ``conv_chunk`` frames: real frames to the left, zeros to the right."""
        weight = self.weights[name]  # [out, in or 1, kernel]
        frames, reach = len(x), weight.shape[2] // 2
        whole = conv_chunk <= 0 or conv_chunk >= 999
        window = frames if whole else conv_chunk
        outputs = []
        for first in range(0, frames, window):
            for centre in range(first, first + window, stride):
                y = np.zeros(weight.shape[0])
                for tap in range(weight.shape[2]):
                    place = centre - reach + tap
                    if 0 <= place < min(frames, first + window):
                        part = weight[:, :, tap]
                        depthwise = part.shape[1] == 1 and x.shape[1] > 1
                        y += part[:, 0] * x[place] if depthwise else product(x[place], part)
                outputs.append(y)
        return np.stack(outputs)[: -(-frames // stride)]

    def affine(self, x: Array, name: str) -> Array:
        return product(x, self.weights[f"{name}.weight"]) + self.weights[f"{name}.bias"]

    def norm(self, x: Array, name: str) -> Array:
        centred = x - x.mean(axis=1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


_encodings: dict[tuple[int, int], Any] = {}


def encoding(distance: int, width: int) -> Array:
    """Sine and cosine of query minus key, in float32 as the published table."""
    if (distance, width) not in _encodings:
        rate = torch.exp(torch.arange(0, width, 2).float() * -(np.log(10000.0) / width))
        angle = torch.tensor(float(distance)) * rate
        result = np.zeros(width)
        result[0::2], result[1::2] = angle.sin().numpy(), angle.cos().numpy()
        _encodings[distance, width] = result
    return _encodings[distance, width]


def product(x: Array, weight: Array) -> Array:
    """``x W^T``; in torch, which the tests keep to one thread."""
    return (torch.from_numpy(x) @ torch.from_numpy(weight).T).numpy()


def gated(x: Array) -> Array:
    half = x.shape[1] // 2
    return x[:, :half] * sigmoid(x[:, half:])


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))
