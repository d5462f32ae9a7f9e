"""Causal stem: feature frames at 100 Hz to encoder frames at 50 Hz.

Symbols: ``B`` streams, ``T`` encoder frames in this call, ``F`` mel bins, ``C`` output channels.

Encoder frame ``t`` is made of feature frames ``2t - 7`` to ``2t + 1``: no look-ahead, and the last
seven feature frames are all the memory it needs.
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from echostream.encoder.activation import swoosh_r
from echostream.encoder.linear import Linear
from echostream.encoder.norm import BiasNorm
from echostream.encoder.prepared import PreparedModule
from echostream.encoder.state import State
from echostream.kernel import kernel_for, pack_weights

_HISTORY = 7
"""Feature frames before an encoder frame's own two that the three convolutions reach."""


@dataclass(frozen=True)
class StemState(State):
    """The last feature frames."""

    features: Tensor
    """``[B, 7, F]``"""


class Stem(PreparedModule):
    """Three 3x3 convolutions over (time, mel bin), none padded in time, then a projection."""

    def __init__(self, input_dim: int, hidden: tuple[int, ...], channels: int) -> None:
        super().__init__()
        first, second, third = hidden
        self.input_dim = input_dim
        self.conv1 = nn.Conv2d(1, first, 3, padding=(0, 1))
        self.conv2 = nn.Conv2d(first, second, 3, stride=2, padding=(0, 1))
        self.conv3 = nn.Conv2d(second, third, 3, stride=(1, 2), padding=(0, 1))
        bins = (input_dim + 1) // 2
        bins = (bins + 1) // 2
        self.projection = Linear(third * bins, channels)
        self.norm = BiasNorm(channels)
        self._initialise()

    def _initialise(self) -> None:
        """Start with frames that differ.

        SwooshR has a slope of 0.19 at the origin, so with the usual small weights the variation of
        the input would shrink tenfold in each convolution and drown in the biases; the norm would
        then make nearly the same vector of every frame. A gain of 2 keeps the variance, and the
        biases start at zero.
        """
        for conv in (self.conv1, self.conv2, self.conv3):
            nn.init.normal_(conv.weight, std=2.0 / math.sqrt(conv.weight[0].numel()))
        for module in (self.conv1, self.conv2, self.conv3, self.projection):
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def init_state(self, batch_size: int) -> StemState:
        """The state before the first frame: as if the features before had been zero."""
        with torch.no_grad():
            return StemState(self.norm.bias.new_zeros(batch_size, _HISTORY, self.input_dim))

    def forward(self, features: Tensor, state: StemState) -> tuple[Tensor, StemState]:
        """``[B, 2 T, F] -> ([B, T, C], state)``."""
        whole = torch.cat((state.features, features), dim=1)
        x = self.norm(self.projection(self._convolved(whole)))
        return x, StemState(whole[:, whole.shape[1] - _HISTORY :].clone())

    def _convolved(self, features: Tensor) -> Tensor:
        """``[B, 2 T + 7, F]`` to what the projection takes, ``[B, T, channels of bins]``."""
        kernel = kernel_for(features)
        if kernel is not None:
            convs = (self.conv1, self.conv2, self.conv3)
            layers = [
                self.prepared(index, (conv.weight, conv.bias), partial(_pack, conv))  # type: ignore[arg-type]
                for index, conv in enumerate(convs)
            ]
            return kernel.stem(features, layers, [conv.out_channels for conv in convs])
        x = swoosh_r(self._first(features))
        x = swoosh_r(self.conv2(x))
        x = swoosh_r(self.conv3(x))
        return x.transpose(1, 2).flatten(2)

    def _first(self, features: Tensor) -> Tensor:
        """The first convolution of ``[B, t, F]``, of a copy of its one channel for each output.

        Compilers are slow with a single channel and quick with channels that do not mix.
        """
        conv = self.conv1
        copies = features.unsqueeze(1).expand(-1, conv.out_channels, -1, -1)
        return functional.conv2d(
            copies, conv.weight, conv.bias, padding=(0, 1), groups=conv.out_channels
        )


def _pack(conv: nn.Conv2d) -> Tensor:
    """A convolution laid out as the kernel reads it."""
    return pack_weights(conv.weight.permute(0, 2, 3, 1).flatten(1), conv.bias)
