"""Low-rank changes of a frozen decoder: LoRA (Hu et al. 2021, arXiv 2106.09685).

Symbols: ``O`` outputs, ``I`` inputs, ``r`` rank.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

RANK = 8
_SCALE = 4.0


class LowRankChange(nn.Module):
    """Adds ``left [O, r] @ right [r, I]`` to a weight; nothing at first."""

    def __init__(self, outputs: int, inputs: int, rank: int = RANK) -> None:
        super().__init__()
        self.left = nn.Parameter(torch.zeros(outputs, rank))
        self.right = nn.Parameter(torch.randn(rank, inputs) * inputs**-0.5)

    def forward(self, weight: Tensor) -> Tensor:
        """``[O, I]``."""
        return weight + _SCALE * self.left @ self.right


def make_low_rank(module: nn.Module) -> None:
    """Freeze a module but for a low-rank change of each of its linear layers."""
    module.requires_grad_(False)
    for layer in list(module.modules()):
        if isinstance(layer, nn.Linear):
            change = LowRankChange(layer.out_features, layer.in_features)
            parametrize.register_parametrization(layer, "weight", change)


def take_factors(module: nn.Module, factors: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    """Start the changes of a module that is low-rank from what :func:`low_rank_factors` gave."""
    with torch.no_grad():
        for name, (left, right) in factors.items():
            layer = module.get_submodule(name.removesuffix(".weight"))
            change = next(each for each in layer.modules() if isinstance(each, LowRankChange))
            change.left.copy_(left / _SCALE)
            change.right.copy_(right)


def low_rank_factors(weights: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """By name of the weight its factors ``[O, r]`` and ``[r, I]``, of a module's state."""
    middle = ".parametrizations.weight.0.left"
    return {
        name.removesuffix(middle) + ".weight": (
            _SCALE * left,
            weights[name.removesuffix("left") + "right"],
        )
        for name, left in weights.items()
        if name.endswith(middle)
    }
