"""Rewritten graphs: the same numbers, with the operators that are wanted."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from echostream.backend.inductor.graph_rewriting import rewritten
from echostream.kernel import (
    Kernel,
    has_int8_layers,
    pack_weights,
    pack_weights_int8,
)
from tests.encoder.small_encoder import noise
from tests.kernel.needs import needs_compiler

FLOAT = torch.float32
ROWS, INPUTS, OUTPUTS = (2, 5), 7, 33
PACK = {"packed_linear": pack_weights, "packed_linear_int8": pack_weights_int8}

pytestmark = [needs_compiler, pytest.mark.usefixtures("kernel")]


def names(graph: GraphModule) -> list[str]:
    """Of the operators, in order."""
    return [
        node.target._schema.name.partition("::")[2]
        for node in graph.graph.nodes
        if node.op == "call_function"
    ]


def checked(function: Callable[..., Tensor], *inputs: Tensor) -> list[str]:
    """The operators of the rewritten graph, which makes the same values."""
    graph = make_fx(function, tracing_mode="fake")(*inputs)
    here = has_int8_layers() or not any("int8" in name for name in names(graph))
    expected = graph(*inputs) if here else None
    again = rewritten(graph)
    assert expected is None or torch.equal(again(*inputs), expected)
    return names(again)


@pytest.fixture(params=PACK)
def layer(request: pytest.FixtureRequest, kernel: Kernel) -> tuple[Any, str, Tensor]:
    weight, bias = noise(OUTPUTS, INPUTS, dtype=FLOAT), noise(OUTPUTS, dtype=FLOAT)
    return getattr(kernel, request.param), request.param, PACK[request.param](weight, bias)


def test_a_layer_adds_what_it_is_added_to(layer: tuple[Any, str, Tensor]) -> None:
    """On either side of the sum, and one sum after the other."""
    linear, name, weights = layer

    def function(x: Tensor, weights: Tensor, addend: Tensor) -> Tensor:
        def y(x: Tensor) -> Tensor:
            made: Tensor = linear(x, weights, 0, OUTPUTS, 0)
            return made

        return y(2 * x) + (addend + y(x))

    found = checked(
        function, noise(*ROWS, INPUTS, dtype=FLOAT), weights, noise(*ROWS, OUTPUTS, dtype=FLOAT)
    )
    assert found.count(f"{name}_add") == 2
    assert name not in found
    assert "add" not in found


@pytest.mark.parametrize("case", ["swoosh", "used twice", "broadcast", "number"])
def test_other_sums_stay(layer: tuple[Any, str, Tensor], case: str) -> None:
    linear, name, weights = layer

    def function(x: Tensor, weights: Tensor, addend: Tensor) -> Tensor:
        y: Tensor = linear(x, weights, 0, OUTPUTS, int(case == "swoosh"))
        if case == "broadcast":
            return addend[:1] + y
        if case == "number":
            return y + 1.0
        return (addend + y) * y if case == "used twice" else addend + y

    found = checked(
        function, noise(*ROWS, INPUTS, dtype=FLOAT), weights, noise(*ROWS, OUTPUTS, dtype=FLOAT)
    )
    assert name in found
    assert f"{name}_add" not in found


@pytest.mark.parametrize("start, cut", [(3, True), (4, True), (2, False), (-2, False)])
def test_the_end_of_a_past_and_a_chunk_is_the_chunk(start: int, cut: bool) -> None:
    def function(past: Tensor, chunk: Tensor) -> Tensor:
        return torch.cat((past, chunk), dim=1)[:, start:].view(-1)

    found = checked(function, noise(1, 3, 4), noise(1, 5, 4))
    assert ("cat" not in found) == cut


def test_attention_takes_blocks(kernel: Kernel) -> None:
    def function(weights: Tensor, *blocks: Tensor) -> Tensor:
        *past, values = blocks
        whole = torch.cat(past, dim=1)
        return kernel.attention_mix(weights, [whole], values, 2)

    tensors = [noise(2, 2, 3, 7, dtype=FLOAT), *(noise(2, n, 8, dtype=FLOAT) for n in (2, 2, 3))]
    graph = make_fx(function, tracing_mode="fake")(*tensors)
    assert names(rewritten(graph)) == ["attention_mix"]
