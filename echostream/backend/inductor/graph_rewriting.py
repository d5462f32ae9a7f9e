"""What Inductor would not find out by itself about a graph that calls the kernel."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch.fx import GraphModule, Node

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
