"""The running average of what learns in a model most of which does not."""

import torch
from torch import Tensor, nn

_DECAY = 0.998


class AveragedParameters:
    """Exponential average of the parameters of a model that learn (Polyak and Juditsky 1992).

    The decay after update ``n`` is ``min(0.998, (1 + n) / (10 + n))``, so that the beginning is
    forgotten soon. With a window an update, weights are noisy as long as the rate is high.
    """

    def __init__(self, model: nn.Module) -> None:
        self._learning = {
            name: parameter
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }
        self.values = {name: own.detach().clone() for name, own in self._learning.items()}

    @torch.no_grad()
    def update(self, updates: int) -> None:
        """Take in the parameters as they are after so many updates."""
        decay = min(_DECAY, (1 + updates) / (10 + updates))
        news = [own.detach() for own in self._learning.values()]
        self.values = {
            name: self.values[name].to(own.device) for name, own in self._learning.items()
        }
        torch._foreach_lerp_(list(self.values.values()), news, 1.0 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Give the model the averages, and keep its parameters in their place; and back again."""
        for name, own in self._learning.items():
            kept: Tensor = own.detach().clone()
            own.copy_(self.values[name])
            self.values[name] = kept
