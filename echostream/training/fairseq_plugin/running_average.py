"""Exponential averages of weights (Polyak and Juditsky 1992).

The decay after update ``n`` is ``min(decay, (1 + n) / (10 + n))``, so that the beginning is
forgotten soon.
"""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

DECAY = 0.998


@torch.no_grad()
def _take_in(
    averages: Iterable[Tensor], news: Iterable[Tensor], updates: int, decay: float
) -> None:
    decay = min(decay, (1 + updates) / (10 + updates))
    torch._foreach_lerp_(list(averages), list(news), 1.0 - decay)


class RunningAverage:
    """Of a network, held by a copy of it. Whole numbers, such as the counts of a batch norm, are
    the last."""

    def __init__(self, network: nn.Module, decay: float = DECAY) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, updates: int) -> None:
        """Take in the weights that ``network`` has after so many updates."""
        new = network.state_dict()
        self.network.to(next(iter(new.values())).device)
        averages, values = [], []
        for name, average in self.network.state_dict().items():
            if average.is_floating_point():
                averages.append(average)
                values.append(new[name].to(average.dtype))
            else:
                average.copy_(new[name])
        _take_in(averages, values, updates, self.decay)


class AveragedParameters:
    """Of the parameters that learn, in a model most of which does not."""

    def __init__(self, model: nn.Module) -> None:
        self._learning = {
            name: parameter
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }
        self.values: dict[str, Tensor] = {}
        """By name; empty before the first update."""

    def update(self, updates: int) -> None:
        """Take in the parameters as they are after so many updates."""
        news = {name: own.detach() for name, own in self._learning.items()}
        if not self.values:
            self.values = {name: own.clone() for name, own in news.items()}
        self.values = {name: self.values[name].to(own.device) for name, own in news.items()}
        _take_in(self.values.values(), news.values(), updates, DECAY)

    @torch.no_grad()
    def swap(self) -> None:
        """Give the model the averages, and keep its parameters in their place; and back again."""
        for name, average in self.values.items():
            own = self._learning[name]
            self.values[name] = own.detach().clone()
            own.copy_(average)
