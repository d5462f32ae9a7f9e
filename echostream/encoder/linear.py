"""Linear layers, the bulk of the encoder's arithmetic.

Symbols: ``I`` input channels, ``O`` output channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from echostream.encoder.activation import swoosh_l
from echostream.encoder.prepared import PreparedModule
from echostream.kernel import (
    GELU,
    SWOOSH_L,
    HugePages,
    graph_kernel,
    is_plain_inference,
    pack_weights,
    shared_kernel,
)

_LEAST_PACKED = 1 << 17
"""Weights of fewer numbers gain nothing from oneDNN: its own overhead is more than it saves."""
_PACKED = HugePages()
"""Of the layers of all models in this process, in the order in which they are first used."""


def _has_packed_product() -> bool:
    """Whether PyTorch was built with oneDNN's linear layer, which its own compiler uses too."""
    if not torch.backends.mkldnn.is_available():
        return False
    return hasattr(torch.ops.mkldnn, "_linear_pointwise") and hasattr(
        torch.ops.mkldnn, "_reorder_linear_weight"
    )


def activated(y: Tensor, activation: int) -> Tensor:
    """``y`` after ``SWOOSH_L``, ``GELU``, or 0 for nothing."""
    if activation == SWOOSH_L:
        return swoosh_l(y)
    return functional.gelu(y) if activation == GELU else y


class Linear(PreparedModule, nn.Linear):
    """:class:`torch.nn.Linear` that keeps its weights in the order in which they are read.

    For the few frames of a chunk that is faster than a product that takes the weights as they lie.
    The product is the project's own kernel, or oneDNN's where that cannot be compiled. This holds
    for float32 on a CPU where no gradient is wanted; else, and wherever operations are watched or
    recorded (to count or export them), this is the usual layer. The weights in order are a second
    copy in memory.

    Args:
        inputs: ``I``.
        outputs: ``O``.
        bias: whether something is added.
        swoosh_epilogue: whether SwooshL follows, which the kernel does on the way.
        gelu_epilogue: whether GELU does; not in a graph.
    """

    has_packed_product = _has_packed_product()

    def __init__(
        self,
        inputs: int,
        outputs: int,
        bias: bool = True,
        *,
        swoosh_epilogue: bool = False,
        gelu_epilogue: bool = False,
    ) -> None:
        super().__init__(inputs, outputs, bias)
        self.swoosh_epilogue = swoosh_epilogue
        self.activation = SWOOSH_L if swoosh_epilogue else GELU if gelu_epilogue else 0

    def forward(self, x: Tensor) -> Tensor:
        """``[..., I] -> [..., O]``."""
        weight, bias = self.weight, self.bias  # A module takes its time to find them.
        traced = graph_kernel()
        if traced is not None:
            return traced.linear(x, weight, swoosh_epilogue=self.swoosh_epilogue)
        if is_plain_inference(x) and _can_be_prepared(weight):
            kernel = shared_kernel()
            if kernel is not None:
                packed = self._in_kernel(weight, bias)
                return kernel.packed_linear(x, packed, 0, self.out_features, self.activation)
            if self.has_packed_product and weight.numel() >= _LEAST_PACKED and x.numel() > 0:
                packed = self.prepared("oneDNN", (weight,), self._packed_for_onednn)
                y: Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
                return activated(y, self.activation)
        return activated(functional.linear(x, weight, bias), self.activation)

    def added_to(self, addend: Tensor, x: Tensor) -> Tensor:
        """``addend`` [..., O] and the layer of ``x`` [..., I], which has no activation."""
        weight, bias = self.weight, self.bias
        if graph_kernel() is None and is_plain_inference(x) and _can_be_prepared(weight):
            kernel = shared_kernel()
            if kernel is not None:
                return kernel.packed_linear_add(x, self._in_kernel(weight, bias), 0, addend)
        y: Tensor = addend + self(x)
        return y

    def _in_kernel(self, weight: Tensor, bias: Tensor | None) -> Tensor:
        sources = (weight,) if bias is None else (weight, bias)
        return self.prepared("kernel", sources, self._packed_for_kernel)

    def _packed_for_kernel(self) -> Tensor:
        return _PACKED.place(pack_weights(self.weight, self.bias))

    def _packed_for_onednn(self) -> Tensor:
        packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(self.weight.detach(), None)
        return packed


def _can_be_prepared(weight: Tensor) -> bool:
    # Tensors of inference mode count no versions.
    return weight.dtype == torch.float32 and weight.is_cpu and not weight.is_inference()


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
