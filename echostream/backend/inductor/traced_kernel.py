"""The kernel in a graph that is being traced, and the weights of a module in one tensor.

The weights of all layers are packed in the order in which the kernel reads them, and loaded into
huge pages where there are any.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from echostream.kernel import (
    GraphKernel,
    in_huge_pages,
    pack_weights,
    pack_weights_int8,
    unpack_weights,
)


class PackedWeights:
    """The linear layers of a module in one flat tensor.

    Args:
        module: whose layers.
        precision: ``float32`` or ``int8``.
    """

    def __init__(self, module: nn.Module, precision: str = "float32") -> None:
        self.int8 = precision == "int8"
        pack = pack_weights_int8 if self.int8 else pack_weights
        self._offsets: dict[int, int] = {}
        pieces = []
        end = 0
        for layer in module.modules():
            if isinstance(layer, nn.Linear) and id(layer.weight) not in self._offsets:
                self._offsets[id(layer.weight)] = end
                bias = None if layer.bias is None else layer.bias.detach()
                pieces.append(pack(layer.weight.detach(), bias))
                end += pieces[-1].shape[0]
        self.flat = torch.cat(pieces)

    def offset(self, weight: Tensor) -> int:
        """Where a layer lies."""
        return self._offsets[id(weight)]


class TracedKernel(GraphKernel):
    """The kernel's operations on the layers of a module.

    Args:
        packed: where the layers lie.
        weights: the graph's input that holds them.
    """

    def __init__(self, packed: PackedWeights, weights: Tensor) -> None:
        super().__init__()
        self._packed = packed
        self._weights = weights
        if packed.int8:
            vars(self)["stem"] = self._stem

    def linear(self, x: Tensor, weight: Tensor, *, swoosh_epilogue: bool) -> Tensor:
        """See :class:`echostream.kernel.GraphKernel`."""
        linear = self.packed_linear_int8 if self._packed.int8 else self.packed_linear
        offset = self._packed.offset(weight)
        return linear(x, self._weights, offset, weight.shape[0], int(swoosh_epilogue))

    def _stem(self, features: Tensor, layers: Sequence[Tensor], outputs: Sequence[int]) -> Tensor:
        """In int8, where the stem is wide enough for it."""
        if any(count % 4 for count in outputs[:2]):
            return torch.ops.echostream.stem.default(features, layers, outputs)
        others = (
            pack_weights_int8(*unpack_weights(layer, 9 * before, after))
            for layer, before, after in zip(layers[1:], outputs, outputs[1:], strict=False)
        )
        return self.stem_int8(features, [layers[0], *others], outputs)


def load_weights(path: Path) -> Tensor:
    """A file of float32 values as a flat tensor."""
    weights = in_huge_pages(path.stat().st_size // 4)
    with path.open("rb") as file:
        file.readinto(weights.numpy())  # type: ignore[arg-type]
    return weights
