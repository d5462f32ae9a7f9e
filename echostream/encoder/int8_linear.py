"""Linear layers of int8 weights, for inference on the CPU.

Symbols: ``I`` inputs, ``O`` outputs.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor, nn

from echostream.encoder.linear import Linear, activated
from echostream.errors import ConfigError
from echostream.kernel import (
    has_int8_layers,
    kernel_for,
    pack_weights_int8,
    quantise_int8,
    shared_kernel,
)

_SMALLEST = 1e-30
"""Instead of the largest number of a row of zeros."""


class Int8Linear(nn.Module):
    """A linear layer of int8 weights, one scale an output.

    Inputs are rounded too, with one scale a row, so that what a row gives depends on nothing beside
    it. The product is the project's kernel where it has one for the processor, else torch's.

    Args:
        weight: ``[O, I]``.
        bias: ``[O]``.
        activation: ``GELU``, ``SWOOSH_L`` or 0.

    Raises:
        ConfigError: if there is neither.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: int = 0) -> None:
        super().__init__()
        self.out_features = len(weight)
        self._activation = activation
        weight = weight.detach().cpu()
        self._bias = None if bias is None else bias.detach().cpu()
        self._packed: Tensor | None = None
        if shared_kernel() is not None and has_int8_layers():
            self._packed = pack_weights_int8(weight, self._bias)
        else:
            self._prepacked = _prepacked(weight)

    @classmethod
    def of(cls, layer: Linear) -> Int8Linear:
        """A layer's weights in int8."""
        return cls(layer.weight, layer.bias, layer.activation)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., I] -> [..., O]``."""
        if self._packed is None:
            return activated(self._by_torch(x), self._activation)
        kernel = kernel_for(x)
        if kernel is None:
            raise _not_for_inference(x)
        return kernel.packed_linear_int8(x, self._packed, 0, self.out_features, self._activation)

    def added_to(self, addend: Tensor, x: Tensor) -> Tensor:
        """``addend`` [..., O] and the layer of ``x`` [..., I], which has no activation."""
        if self._packed is None:
            return addend + self._by_torch(x)
        kernel = kernel_for(x)
        if kernel is None:
            raise _not_for_inference(x)
        return kernel.packed_linear_int8_add(x, self._packed, 0, addend)

    def _by_torch(self, x: Tensor) -> Tensor:
        largest = x.abs().amax(dim=-1, keepdim=True).clamp_min(_SMALLEST)
        y: Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            x / largest, 1 / 127, 128, self._prepacked
        )
        y = y * largest
        return y if self._bias is None else y + self._bias


def _not_for_inference(x: Tensor) -> ConfigError:
    return ConfigError(
        f"a layer in int8 got {x.dtype} on {x.device} with gradients "
        f"{'on' if torch.is_grad_enabled() else 'off'}; expected torch.float32 on cpu, for "
        "inference (torch.no_grad())"
    )


def _prepacked(weight: Tensor) -> object:
    """Weights in the form of torch's product.

    They have 7 bits: with 8 of them and 8 of the inputs sums overflow on older processors.
    """
    if not hasattr(torch.ops.quantized, "linear_with_input_q_dq_qweight_dq_output_fp32"):
        raise ConfigError(
            "--precision int8 was given, but this PyTorch has no product of int8 weights and the "
            "project's kernel has none for this processor; expected float32"
        )
    values, scales = quantise_int8(weight.numpy(), 1)
    values, scales = np.rint(values / 2).astype(np.int8), 2 * scales
    with warnings.catch_warnings():
        # Tensors of int8 are on their way out of PyTorch, but their products are still there.
        warnings.simplefilter("ignore")
        quantised = torch._make_per_channel_quantized_tensor(
            torch.from_numpy(values),
            torch.from_numpy(scales).flatten().double(),
            torch.zeros(len(weight), dtype=torch.int64),
            0,
        )
        packed: object = torch.ops.quantized.linear_prepack(quantised, None)
    return packed
