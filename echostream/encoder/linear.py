"""Linear layers, the bulk of the encoder's arithmetic.

Symbols: ``I`` input channels, ``O`` output channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from echostream.encoder.prepared import PreparedModule

_LEAST_PACKED = 1 << 17
"""Weights of fewer numbers gain nothing: the kernel's own overhead is more than it saves."""


def _has_packed_product() -> bool:
    """Whether PyTorch was built with oneDNN's linear layer, which its own compiler uses too."""
    if not torch.backends.mkldnn.is_available():
        return False
    return hasattr(torch.ops.mkldnn, "_linear_pointwise") and hasattr(
        torch.ops.mkldnn, "_reorder_linear_weight"
    )


class Linear(PreparedModule, nn.Linear):
    """:class:`torch.nn.Linear` that keeps its weights in the order in which oneDNN reads them.

    For the few frames of a chunk that is faster than a product that takes the weights as they lie.
    It is used for float32 on a CPU where no gradient is wanted; else, and wherever operations are
    watched or recorded (to count or export them), this is the usual layer. The packed weights are a
    second copy in memory.
    """

    packs = _has_packed_product()

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, bias)
        self._large = inputs * outputs >= _LEAST_PACKED

    def forward(self, x: Tensor) -> Tensor:
        """``[..., I] -> [..., O]``."""
        if not self._large or not self._can_pack(x):
            return functional.linear(x, self.weight, self.bias)
        packed = self.prepared((), (self.weight,), self._pack)
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, self.bias, "none", [], "")
        return y

    def _can_pack(self, x: Tensor) -> bool:
        return (
            self.packs
            and not torch.is_grad_enabled()
            and torch._C._len_torch_dispatch_stack() == 0
            and not torch._C._is_tracing()
            and not torch.compiler.is_compiling()
            and x.dtype == self.weight.dtype == torch.float32
            and x.device.type == self.weight.device.type == "cpu"
            and x.numel() > 0
            and not self.weight.is_inference()  # These count no versions.
        )

    def _pack(self) -> Tensor:
        packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(self.weight.detach(), None)
        return packed


def scaled_linear(inputs: int, outputs: int, scale: float, *, bias: bool = True) -> Linear:
    """A linear layer whose weights start ``scale`` times the usual size.

    Residual branches start small, so that the network begins near the identity and every layer
    sees the input from the first update on.
    """
    linear = Linear(inputs, outputs, bias=bias)
    with torch.no_grad():
        linear.weight.mul_(scale)
        if linear.bias is not None:
            linear.bias.zero_()
    return linear
