"""Dropout with cheap masks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_STEPS = 1 << 16


class Dropout(nn.Dropout):
    """``torch.nn.Dropout`` that draws 16 bits for a number instead of 64.

    On a CPU PyTorch draws its masks one number at a time, which shows in a training step: a mask
    over all pairs of frames is drawn in each layer. The rate is exact to 1 / 65536.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name)
        """``input`` with zeros put in and the rest scaled up, in training; else as it is."""
        dropped = round(self.p * _STEPS)
        if not self.training or input.device.type != "cpu" or not 0 < dropped < _STEPS:
            return super().forward(input)
        size = input.numel()
        bits = torch.randint(-(1 << 63), (1 << 63) - 1, (-(-size // 4),), dtype=torch.int64)
        drawn = bits.view(torch.int16)[:size].view(input.shape)
        kept = (drawn >= dropped - _STEPS // 2).to(input.dtype)
        return input * kept.mul_(_STEPS / (_STEPS - dropped))
