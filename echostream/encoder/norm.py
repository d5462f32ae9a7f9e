"""Normalisation and bypass of the Zipformer layers.

Symbols: ``B`` streams, ``T`` frames, ``C`` channels.
"""

import torch
from torch import Tensor, nn


class BiasNorm(nn.Module):
    """``x / rms(x - bias) * exp(log_scale)`` over channels (arXiv 2310.11230, equation 3).

    Unlike LayerNorm it does not remove the mean, so a channel can carry a constant that says how
    large the others are. A small floor keeps an all-zero (padding) frame finite.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.log_scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        """``[..., C] -> [..., C]``."""
        power = (x - self.bias).square().mean(dim=-1, keepdim=True)
        return x * ((power + 1e-8).rsqrt() * self.log_scale.exp())


class Bypass(nn.Module):
    """Per-channel interpolation between a module's input and output (equation 4)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels,), 0.5))

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """``before + (after - before) * scale``, all ``[..., C]``."""
        return torch.addcmul(before, after - before, self.scale)
