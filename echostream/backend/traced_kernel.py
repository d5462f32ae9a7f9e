"""The kernel in a graph that is being traced: its operators, and a module's weights in one tensor.

The weights of all layers lie in the order in which the kernel reads them, in huge pages where there
are any.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from echostream.backend import kernel_operators
from echostream.backend.kernel_operators import packed_linear, packed_linear_int8
from echostream.kernel import in_huge_pages, pack_weights, pack_weights_int8, unpack_weights


class PackedWeights:
    """The linear layers of a module in one flat tensor.

    Args:
        module: whose layers.
        precision: ``float32``, or ``int8`` for bytes.
    """

    def __init__(self, module: nn.Module, precision: str = "float32") -> None:
        self.int8 = precision == "int8"
        self.linear = packed_linear_int8 if self.int8 else packed_linear
        """What computes a layer from them."""
        arrange = pack_weights_int8 if self.int8 else pack_weights
        self._offsets: dict[int, int] = {}
        pieces = []
        end = 0
        for layer in module.modules():
            if isinstance(layer, nn.Linear) and id(layer.weight) not in self._offsets:
                self._offsets[id(layer.weight)] = end
                pieces.append(arrange(layer.weight.detach(), _detached(layer.bias)))
                end += pieces[-1].shape[0]
        self.flat = torch.cat(pieces)

    def offset(self, weight: Tensor) -> int:
        """Where a layer lies."""
        return self._offsets[id(weight)]


def _detached(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias.detach()


class TracedKernel:
    """The kernel's functions as operators of the graph that is being traced.

    See :class:`echostream.kernel.GraphKernel`.

    Args:
        packed: where the layers lie.
        weights: the graph's input that holds them.
    """

    def __init__(self, packed: PackedWeights, weights: Tensor) -> None:
        self._packed = packed
        self._weights = weights

    def linear(self, x: Tensor, weight: Tensor, *, swoosh_epilogue: bool) -> Tensor:
        """See :class:`echostream.kernel.GraphKernel`."""
        outputs, inputs = weight.shape
        rows = x.reshape(-1, inputs)
        offset = self._packed.offset(weight)
        y = self._packed.linear(rows, self._weights, offset, outputs, int(swoosh_epilogue))
        return y.view(*x.shape[:-1], outputs)

    def stem(self, features: Tensor, layers: Sequence[Tensor], outputs: Sequence[int]) -> Tensor:
        """See :class:`echostream.kernel.ChunkKernel`."""
        if not self._packed.int8 or any(count % 4 for count in outputs[:2]):
            return kernel_operators.stem(features, layers, outputs)
        others = (
            pack_weights_int8(*unpack_weights(layer, 9 * before, after))
            for layer, before, after in zip(layers[1:], outputs, outputs[1:], strict=False)
        )
        return kernel_operators.stem_int8(features, [layers[0], *others], outputs)

    attention_weights = staticmethod(kernel_operators.attention_weights)
    attention_mix = staticmethod(kernel_operators.attention_mix)
    depthwise_swoosh = staticmethod(kernel_operators.depthwise_swoosh)
    gated_sigmoid = staticmethod(kernel_operators.gated_sigmoid)
    gated_tanh = staticmethod(kernel_operators.gated_tanh)
    swoosh_r = staticmethod(kernel_operators.swoosh_r)


def load_weights(path: Path) -> Tensor:
    """A file of float32 numbers as a flat tensor."""
    weights = in_huge_pages(path.stat().st_size // 4)
    with path.open("rb") as file:
        file.readinto(weights.numpy())  # type: ignore[arg-type]
    return weights
