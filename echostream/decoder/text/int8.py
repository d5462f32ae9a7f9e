"""A text decoder whose weights are int8.

Symbols: ``n`` tokens, ``I`` inputs, ``O`` outputs, ``C`` channels, ``V`` vocabulary.

One token needs every weight once, so its time is that of reading them, and most of them are the
output's. Projections of encoder frames are made once for a frame and stay float32.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional

from echostream.decoder.text.transformer import DecoderLayer, TransformerDecoder
from echostream.errors import ConfigError
from echostream.kernel import (
    has_int8_products,
    kernel_for,
    pack_weights_int8,
    quantise_int8,
    shared_kernel,
)

RESCORED = 64
"""Tokens whose logits are computed once more in float32: the likeliest of each row."""

_FLOAT = ("cross_key", "cross_value")


class Int8Linear(nn.Module):
    """A linear layer of int8 weights, one scale an output; inputs are rounded too.

    The product is the project's kernel where the processor has the instructions for it, else
    torch's.

    Args:
        weight: ``[O, I]``.
        bias: ``[O]``.

    Raises:
        ConfigError: if there is neither.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.out_features = len(weight)
        weight = weight.detach().cpu()
        bias = None if bias is None else bias.detach().cpu()
        self._packed: Tensor | None = None
        if shared_kernel() is not None and has_int8_products():
            self._packed = pack_weights_int8(weight, bias)
            return
        if not hasattr(torch.ops.quantized, "linear_dynamic"):
            raise ConfigError(
                "--precision int8 was given, but this PyTorch has no product of int8 weights and "
                "the processor no instructions for the project's own; expected float32"
            )
        values, scales = quantise_int8(weight.numpy(), 1)
        with warnings.catch_warnings():
            # Tensors of int8 are on their way out of PyTorch, but their products are still there.
            warnings.simplefilter("ignore")
            quantised = torch._make_per_channel_quantized_tensor(
                torch.from_numpy(values),
                torch.from_numpy(scales).flatten().double(),
                torch.zeros(len(weight), dtype=torch.int64),
                0,
            )
            self._prepacked = torch.ops.quantized.linear_prepack(quantised, bias)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., I] -> [..., O]``."""
        if self._packed is not None:
            kernel = kernel_for(x)
            if kernel is not None:
                y: Tensor = kernel.packed_linear_int8(x, self._packed, 0, self.out_features, 0)
                return y
            raise ConfigError("a decoder in int8 is for inference in float32 on the CPU")
        # With all 8 bits of the inputs sums would overflow on older processors.
        z: Tensor = torch.ops.quantized.linear_dynamic(x.contiguous(), self._prepacked, True)
        return z


class _Int8Layer(DecoderLayer):
    def __init__(self, layer: DecoderLayer) -> None:
        nn.Module.__init__(self)
        self.num_heads = layer.num_heads
        for name, module in layer.named_children():
            if isinstance(module, nn.Linear) and name not in _FLOAT:
                self.add_module(name, Int8Linear(module.weight, module.bias))
            else:
                self.add_module(name, module)


class Int8Decoder(TransformerDecoder):
    """``decoder`` with int8 weights, for inference on the CPU; what stays float32 is shared."""

    def __init__(self, decoder: TransformerDecoder) -> None:
        nn.Module.__init__(self)
        self.config = decoder.config
        self._alignment = decoder._alignment
        self.embedding = decoder.embedding
        self.positions = decoder.positions
        self.norm = decoder.norm
        for name, buffer in decoder.named_buffers():
            self.register_buffer(name, buffer)
        self.layers = nn.ModuleList(
            _Int8Layer(layer) for layer in decoder.layers if isinstance(layer, DecoderLayer)
        )
        self._output = Int8Linear(decoder.embedding.weight, None)

    def logits(self, output: Tensor) -> Tensor:
        """``[n, C]`` or ``[C] -> [..., V]``; those that are likeliest are as in float32."""
        rows = output.reshape(-1, output.shape[-1])
        scores: Tensor = self._output(rows)
        likeliest = scores.topk(min(RESCORED, scores.shape[1]), dim=1).indices
        for row, found, own in zip(rows, likeliest, scores, strict=True):
            own[found] = functional.linear(row, self.embedding.weight[found])
        return scores.view(*output.shape[:-1], -1)
