"""Low-rank changes of a frozen decoder: LoRA (Hu et al. 2021, arXiv 2106.09685).

Symbols: ``O`` outputs, ``I`` inputs, ``r`` rank.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from echostream.encoder.linear import Linear, activated

RANK = 8
_SCALE = 4.0
_LEFT, _RIGHT = ".left", ".right"


class LowRankLinear(Linear):
    """A linear layer to whose weight ``left [O, r] @ right [r, I]`` is added; nothing at first.

    The product is never made: two thin ones cost less than another weight, forward and backward.

    Args:
        layer: whose weight and bias it has.
        rank: ``r``.
    """

    def __init__(self, layer: nn.Linear, rank: int = RANK) -> None:
        super().__init__(layer.in_features, layer.out_features, layer.bias is not None)
        self.weight, self.bias = layer.weight, layer.bias
        self.activation = getattr(layer, "activation", 0)
        self.left = nn.Parameter(torch.zeros(layer.out_features, rank))
        self.right = nn.Parameter(torch.randn(rank, layer.in_features) * layer.in_features**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., I] -> [..., O]``."""
        change = functional.linear(functional.linear(x, self.right), self.left)
        return activated(
            functional.linear(x, self.weight, self.bias) + _SCALE * change, self.activation
        )

    def added_to(self, addend: Tensor, x: Tensor) -> Tensor:
        """``addend`` [..., O] and the layer of ``x`` [..., I], which has no activation."""
        return addend + self(x)


def make_low_rank(module: nn.Module) -> None:
    """Freeze a module but for a low-rank change of each of its linear layers."""
    module.requires_grad_(False)
    for parent in list(module.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, nn.Linear):
                setattr(parent, name, LowRankLinear(layer))


def take_factors(module: nn.Module, factors: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    """Start the changes of a module that is low-rank from what :func:`low_rank_factors` gave."""
    with torch.no_grad():
        for name, (left, right) in factors.items():
            layer = module.get_submodule(name.removesuffix(".weight"))
            assert isinstance(layer, LowRankLinear)
            layer.left.copy_(left / _SCALE)
            layer.right.copy_(right)


def low_rank_factors(weights: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """By name of the weight its factors ``[O, r]`` and ``[r, I]``, of a module's state."""
    return {
        name.removesuffix(_LEFT) + ".weight": (
            _SCALE * left,
            weights[name.removesuffix(_LEFT) + _RIGHT],
        )
        for name, left in weights.items()
        if name.endswith(_LEFT)
    }
