"""What the kernel computes, written down in torch's operations."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional

from echostream.kernel import TILE, unpack_weights


def swoosh(x: Tensor, shift: float, offset: float) -> Tensor:
    """In float64, by the formula of the paper."""
    x = x.double()
    return torch.logaddexp(torch.zeros_like(x), x - shift) - 0.08 * x - offset


def swoosh_r(x: Tensor) -> Tensor:
    return swoosh(x, 1, 0.313261687)


def swoosh_l(x: Tensor) -> Tensor:
    return swoosh(x, 4, 0.035)


def unpack_weights_int8(packed: Tensor, inputs: int, outputs: int) -> tuple[Tensor, Tensor, Tensor]:
    """int8 weights as float32 ``[O, I]``, and of each output the scale and the bias ``[O]``."""
    padded, quarters = -(-outputs // TILE) * TILE, -(-inputs // 4)
    fours, scales, bias = packed.split((padded * quarters, padded, padded))
    stored = fours.contiguous().view(torch.uint8).view(-1, quarters, TILE, 4).float() - 128
    weight = stored.transpose(1, 2).reshape(padded, 4 * quarters)
    return weight[:outputs, :inputs], scales[:outputs], bias[:outputs]


def linear_int8(x: Tensor, packed: Tensor, outputs: int) -> Tensor:
    """Of inputs rounded to int8, each row with one scale."""
    weight, scales, bias = unpack_weights_int8(packed, x.shape[1], outputs)
    steps = _steps(x, 1)
    return functional.linear((x / steps).round(), weight) * steps * scales + bias


def stem_int8(features: Tensor, layers: Sequence[Tensor], outputs: Sequence[int]) -> Tensor:
    """The second and third layer of inputs rounded to int8, each frame with one scale."""
    weight, bias = unpack_weights(layers[0], 9, outputs[0])
    x = functional.conv2d(features.unsqueeze(1), _taps(weight), bias, padding=(0, 1))
    for layer, stride, before, after in zip(
        layers[1:], ((2, 2), (1, 2)), outputs, outputs[1:], strict=False
    ):
        x = swoosh_r(x).float()
        weight, scales, bias = unpack_weights_int8(layer, 9 * before, after)
        steps = _steps(x, (1, 3))
        taps = _taps(weight * scales[:, None])
        x = functional.conv2d((x / steps).round() * steps, taps, bias, stride, padding=(0, 1))
    return swoosh_r(x).float().transpose(1, 2).flatten(2)


def _steps(x: Tensor, together: int | tuple[int, ...]) -> Tensor:
    """Of values along the axes ``together``: the largest is 127 of them."""
    return x.abs().amax(dim=together, keepdim=True).clamp(min=1e-30) / 127


def _taps(weight: Tensor) -> Tensor:
    """Of a convolution, ``[N, I, 3, 3]``, from the inputs of a layer, frame, bin, channel."""
    return weight.unflatten(1, (3, 3, -1)).permute(0, 3, 1, 2)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
