"""Averages of weights: over the updates of a run, and over its last checkpoints.

Both give a network that does better than any single one on the way (Polyak and Juditsky 1992).
Whole numbers among the tensors, such as the counts of a batch norm, are taken from the last.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


class RunningAverage:
    """Exponential average of a network's weights, held by a copy of the network.

    The decay is ``min(decay, (1 + n) / (10 + n))`` after update ``n``, so that the beginning is
    forgotten soon.
    """

    def __init__(self, network: nn.Module, decay: float = 0.998) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, updates: int) -> None:
        """Take in the weights that ``network`` has after so many updates."""
        decay = min(self.decay, (1 + updates) / (10 + updates))
        new = network.state_dict()
        self.network.to(next(iter(new.values())).device)
        averages, values = [], []
        for name, average in self.network.state_dict().items():
            if average.is_floating_point():
                averages.append(average)
                values.append(new[name].to(average.dtype))
            else:
                average.copy_(new[name])
        torch._foreach_lerp_(averages, values, 1.0 - decay)


def average_weights(weights: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of the tensors of several checkpoints of one network, in their own types."""
    result = dict(weights[-1])
    for name, last in result.items():
        if last.is_floating_point():
            total = torch.stack([w[name].to(torch.float64) for w in weights]).mean(dim=0)
            result[name] = total.to(last.dtype)
    return result
