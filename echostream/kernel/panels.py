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
GROUP = 64
"""Inputs that are rounded to bytes with one scale."""


def in_panels(weight: Tensor, bias: Tensor | None) -> Tensor:
    """``[N, K]`` and ``[N]`` as the kernel reads them, one after the other: a flat tensor."""
    outputs, inputs = weight.shape
    missing = -outputs % PANEL
    panels = functional.pad(weight, (0, 0, 0, missing)).view(-1, PANEL, inputs).transpose(1, 2)
    end = weight.new_zeros(outputs) if bias is None else bias
    return torch.cat((panels.reshape(-1), functional.pad(end, (0, missing))))


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
