"""The kernel of linear layers as an operator of compiled graphs.

Symbols: ``M`` rows, ``K`` inputs, ``N`` outputs.

A stream reads every weight for each chunk and multiplies it with 2 to 16 rows, so the time goes
into reading, which general matrix products are not made for; the kernel in ``panel_linear.cpp`` is.
The weights of all layers lie in one tensor, in huge pages where there are any.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from echostream.kernel import GROUP, PANEL, in_huge_pages, in_panels, in_panels_of_bytes


@torch.library.custom_op("echostream::panel_linear", mutates_args=())
def panel_linear(x: Tensor, weights: Tensor, offset: int, outputs: int) -> Tensor:
    """The layer at ``offset`` in ``weights``: ``[M, K] -> [M, N]``.

    This says what is computed, and is what is traced; compiled graphs call the kernel.
    """
    inputs = x.shape[1]
    padded = -(-outputs // PANEL) * PANEL
    panels, bias = weights[offset : offset + padded * (inputs + 1)].split((padded * inputs, padded))
    weight = panels.view(-1, inputs, PANEL).transpose(1, 2).reshape(padded, inputs)
    return functional.linear(x, weight[:outputs], bias[:outputs])


@torch.library.custom_op("echostream::panel_linear_of_bytes", mutates_args=())
def panel_linear_of_bytes(x: Tensor, weights: Tensor, offset: int, outputs: int) -> Tensor:
    """As :func:`panel_linear`, of weights in bytes; inputs are rounded to bytes too."""
    missing = -x.shape[1] % GROUP
    inputs = x.shape[1] + missing
    padded = -(-outputs // PANEL) * PANEL
    quarters, scales, bias = weights[offset : offset + padded * (inputs // 4 + 2)].split(
        (padded * inputs // 4, padded, padded)
    )
    stored = quarters.contiguous().view(torch.uint8).view(-1, inputs // 4, PANEL, 4).float() - 128
    weight = stored.transpose(1, 2).reshape(padded, -1, GROUP)
    groups = functional.pad(x, (0, missing)).view(len(x), -1, GROUP)
    steps = groups.abs().amax(dim=2, keepdim=True).clamp(min=1e-30) / 127
    products = torch.einsum("mgk,ngk->mng", (groups / steps).round(), weight)
    y = (products * steps.transpose(1, 2)).sum(2) * scales + bias
    return y[:, :outputs].contiguous()


def _result_like(x: Tensor, weights: Tensor, offset: int, outputs: int) -> Tensor:
    return x.new_empty(x.shape[0], outputs)


panel_linear.register_fake(_result_like)
panel_linear_of_bytes.register_fake(_result_like)


C_DECLARATIONS = {
    operator: [
        f"AOTITorchError aoti_torch_cpu_{operator.name().partition('::')[2]}(AtenTensorHandle x, "
        "AtenTensorHandle weights, int64_t offset, int64_t outputs, AtenTensorHandle* result)"
    ]
    for operator in (
        torch.ops.echostream.panel_linear.default,
        torch.ops.echostream.panel_linear_of_bytes.default,
    )
}
"""How compiled graphs call the kernels."""


class PanelWeights:
    """The linear layers of a module in one flat tensor.

    Args:
        module: whose layers.
        precision: ``float32``, or ``int8`` for bytes.
    """

    def __init__(self, module: nn.Module, precision: str = "float32") -> None:
        self.linear = panel_linear if precision == "float32" else panel_linear_of_bytes
        """What computes a layer from them."""
        arrange = in_panels if precision == "float32" else in_panels_of_bytes
        self._offsets: dict[int, int] = {}
        pieces = []
        end = 0
        for layer in module.modules():
            if isinstance(layer, nn.Linear) and id(layer.weight) not in self._offsets:
                self._offsets[id(layer.weight)] = end
                pieces.append(arrange(layer.weight.detach(), _detached(layer.bias)))
                end += pieces[-1].shape[0]
        self.flat = torch.cat(pieces)

    def offset(self, weight: Tensor) -> int | None:
        """Where a layer lies; ``None`` for what is no layer's weight."""
        return self._offsets.get(id(weight))


def _detached(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias.detach()


class PanelLinears(TorchFunctionMode):
    """While it is entered, linear layers are computed from ``weights``, as laid out in ``panels``.

    So the encoder's own code stays the only description of the model.
    """

    def __init__(self, panels: PanelWeights, weights: Tensor) -> None:
        super().__init__()
        self._panels = panels
        self._weights = weights

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is functional.linear:
            x, weight = args[:2]
            offset = self._panels.offset(weight)
            if offset is not None:
                outputs = weight.shape[0]
                rows = x.reshape(-1, x.shape[-1])
                y = self._panels.linear(rows, self._weights, offset, outputs)
                return y.view(*x.shape[:-1], outputs)
        return func(*args, **(kwargs or {}))


def load_weights(path: Path) -> Tensor:
    """A file of float32 numbers as a flat tensor."""
    weights = in_huge_pages(path.stat().st_size // 4)
    with path.open("rb") as file:
        file.readinto(weights.numpy())  # type: ignore[arg-type]
    return weights
