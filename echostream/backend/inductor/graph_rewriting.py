"""The kernel in a graph that is traced, and what Inductor would not find out by itself about it.

The weights of all layers are packed in the order in which the kernel reads them, and loaded into
huge pages where there are any.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

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


_aten, _echostream = torch.ops.aten, torch.ops.echostream


def rewritten(recorded: GraphModule) -> GraphModule:
    """The same graph with less to move. It is changed."""
    for node in list(recorded.graph.nodes):
        if _is(node, _echostream.attention_weights.default, _echostream.attention_mix.default):
            _take_blocks(node)
        elif _is(node, _aten.slice.Tensor):
            _take_end(node)
        elif _is(node, _aten.add.Tensor):
            _add_in_layer(node)
    recorded.graph.eliminate_dead_code()
    recorded.recompile()
    return recorded


def _is(found: Any, *operators: Any) -> bool:
    return isinstance(found, Node) and found.target in operators


def _take_blocks(node: Any) -> None:
    """Attention takes a past in the blocks that it lies in, and need not have it in one."""
    (past,) = node.args[1]
    if _is(past, _aten.cat.default):
        node.update_arg(1, past.args[0])


def _take_end(node: Any) -> None:
    """The end of a past with a chunk after it is the chunk."""
    whole = node.args[0]
    if not _is(whole, _aten.cat.default):
        return
    _, dimension, start, end = (*node.args, sys.maxsize)[:4]
    parts, axis = (*whole.args, 0)[:2]
    before = sum(part.meta["val"].shape[axis] for part in parts[:-1])
    if axis == dimension and start >= before:
        end = min(end, whole.meta["val"].shape[axis])
        node.args = (parts[-1], axis, start - before, end - before)
        for user in node.users:  # What is cut out may no longer lie in one piece.
            if _is(user, _aten.view.default):
                user.target = _aten.reshape.default


def _add_in_layer(node: Any) -> None:
    """What a layer's result is added to, and nothing else is done with, the layer adds itself."""
    if node.kwargs or not all(isinstance(term, Node) for term in node.args):
        return
    with_sum = {
        _echostream.packed_linear.default: _echostream.packed_linear_add.default,
        _echostream.packed_linear_int8.default: _echostream.packed_linear_int8_add.default,
    }
    for layer, addend in (node.args[::-1], node.args):
        if not _is(layer, *with_sum) or len(layer.users) > 1:
            continue
        x, weights, offset, _, activation = layer.args
        if activation or addend.meta["val"].shape != layer.meta["val"].shape:
            continue
        with node.graph.inserting_before(node):
            summed = node.graph.call_function(with_sum[layer.target], (x, weights, offset, addend))
        summed.meta.update(node.meta)
        node.replace_all_uses_with(summed)
        return
