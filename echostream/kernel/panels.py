"""Weights in the order in which the kernel reads them.

Symbols: ``K`` inputs, ``N`` outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from echostream.kernel.rounding import to_bytes

PANEL = 32
"""Outputs that are computed side by side."""


def in_panels(weight: Tensor, bias: Tensor | None) -> Tensor:
    """``[N, K]`` and ``[N]`` as the kernel reads them, one after the other: a flat tensor."""
    outputs, inputs = weight.shape
    missing = -outputs % PANEL
    panels = functional.pad(weight, (0, 0, 0, missing)).view(-1, PANEL, inputs).transpose(1, 2)
    end = weight.new_zeros(outputs) if bias is None else bias
    return torch.cat((panels.reshape(-1), functional.pad(end, (0, missing))))


def out_of_panels(panels: Tensor, inputs: int, outputs: int) -> tuple[Tensor, Tensor]:
    """``[N, K]`` and ``[N]`` of a layer laid out by :func:`in_panels`."""
    padded = _padded(outputs)
    weights, bias = panels.split((padded * inputs, padded))
    weight = weights.view(-1, inputs, PANEL).transpose(1, 2).reshape(padded, inputs)
    return weight[:outputs], bias[:outputs]


def in_panels_of_bytes(weight: Tensor, bias: Tensor | None) -> Tensor:
    """As :func:`in_panels`, with bytes, four in a float32, and the scale of each output."""
    outputs, inputs = weight.shape
    rounded, scales = to_bytes(weight.numpy(), 1)
    missing = -outputs % PANEL
    padded = functional.pad(torch.from_numpy(rounded), (0, -inputs % 4, 0, missing))
    # Of two bytes that are multiplied, one must be unsigned.
    stored = (padded.to(torch.int16) + 128).to(torch.uint8)
    panels = stored.view(-1, PANEL, padded.shape[1] // 4, 4).transpose(1, 2).reshape(-1)
    end = weight.new_zeros(outputs) if bias is None else bias
    columns = (torch.from_numpy(scales).flatten(), end)
    return torch.cat(
        (panels.view(torch.float32), *(functional.pad(column, (0, missing)) for column in columns))
    )


def out_of_panels_of_bytes(
    panels: Tensor, inputs: int, outputs: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Of a layer laid out by :func:`in_panels_of_bytes` its bytes, as numbers ``[N, K]``, the scale
    of each output ``[N]``, and its bias ``[N]``."""
    padded, quarters = _padded(outputs), -(-inputs // 4)
    fours, scales, bias = panels.split((padded * quarters, padded, padded))
    stored = fours.contiguous().view(torch.uint8).view(-1, quarters, PANEL, 4).float() - 128
    weight = stored.transpose(1, 2).reshape(padded, 4 * quarters)
    return weight[:outputs, :inputs], scales[:outputs], bias[:outputs]


def size_in_panels(inputs: int, outputs: int) -> int:
    """Numbers that :func:`in_panels` makes of a layer."""
    return _padded(outputs) * (inputs + 1)


def size_in_panels_of_bytes(inputs: int, outputs: int) -> int:
    """Numbers that :func:`in_panels_of_bytes` makes of a layer, with four bytes in each."""
    return _padded(outputs) * (-(-inputs // 4) + 2)


def _padded(outputs: int) -> int:
    return -(-outputs // PANEL) * PANEL
