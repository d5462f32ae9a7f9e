"""Weights in the order in which the kernel reads them.

Symbols: ``K`` inputs, ``N`` outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from echostream.kernel.quantisation import quantise_int8

TILE = 32
"""Outputs that are computed side by side."""


def pack_weights(weight: Tensor, bias: Tensor | None) -> Tensor:
    """``[N, K]`` and ``[N]`` as the kernel reads them, one after the other: a flat tensor."""
    outputs, inputs = weight.shape
    missing = -outputs % TILE
    packed = functional.pad(weight, (0, 0, 0, missing)).view(-1, TILE, inputs).transpose(1, 2)
    end = weight.new_zeros(outputs) if bias is None else bias
    return torch.cat((packed.reshape(-1), functional.pad(end, (0, missing))))


def unpack_weights(packed: Tensor, inputs: int, outputs: int) -> tuple[Tensor, Tensor]:
    """``[N, K]`` and ``[N]`` of a layer packed by :func:`pack_weights`."""
    padded = _padded(outputs)
    weights, bias = packed.split((padded * inputs, padded))
    weight = weights.view(-1, inputs, TILE).transpose(1, 2).reshape(padded, inputs)
    return weight[:outputs], bias[:outputs]


def pack_weights_int8(weight: Tensor, bias: Tensor | None) -> Tensor:
    """As :func:`pack_weights` in int8, four in a float32, and the scale of each output."""
    outputs, inputs = weight.shape
    rounded, scales = quantise_int8(weight.numpy(), 1)
    missing = -outputs % TILE
    padded = functional.pad(torch.from_numpy(rounded), (0, -inputs % 4, 0, missing))
    # The processor multiplies signed by unsigned bytes.
    stored = (padded.to(torch.int16) + 128).to(torch.uint8)
    packed = stored.view(-1, TILE, padded.shape[1] // 4, 4).transpose(1, 2).reshape(-1)
    end = weight.new_zeros(outputs) if bias is None else bias
    columns = (torch.from_numpy(scales).flatten(), end)
    return torch.cat(
        (packed.view(torch.float32), *(functional.pad(column, (0, missing)) for column in columns))
    )


def _padded(outputs: int) -> int:
    return -(-outputs // TILE) * TILE
