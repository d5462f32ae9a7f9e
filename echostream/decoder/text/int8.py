"""A text decoder whose weights are int8.

Symbols: ``n`` tokens, ``C`` channels, ``V`` vocabulary.

One token needs every weight once, so its time is that of reading them, and most of them are the
output's.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from echostream.decoder.text.transformer import DecoderLayer, TransformerDecoder
from echostream.encoder.int8_linear import Int8Linear
from echostream.encoder.linear import Linear

RESCORED = 64
"""Tokens whose logits are computed once more in float32: the likeliest of each row."""


class _Int8Layer(DecoderLayer):
    def __init__(self, layer: DecoderLayer) -> None:
        nn.Module.__init__(self)
        self.num_heads, self.relu = layer.num_heads, layer.relu
        for name, module in layer.named_children():
            if isinstance(module, Linear):
                self.add_module(name, Int8Linear.of(module))
            else:
                self.add_module(name, module)


class Int8Decoder(TransformerDecoder):
    """``decoder`` with int8 weights, for inference on the CPU; what stays float32 is shared."""

    def __init__(self, decoder: TransformerDecoder) -> None:
        nn.Module.__init__(self)
        self.config = decoder.config
        self._alignment = decoder._alignment
        self.embedding = decoder.embedding
        if self.config.source_dim:
            self.source_map = decoder.source_map
        if self.config.voice_activity:
            self.voice_activity = decoder.voice_activity
        self.positions = decoder.positions
        self.norm = decoder.norm
        for name, buffer in decoder.named_buffers():
            self.register_buffer(name, buffer)
        self.layers = nn.ModuleList(
            _Int8Layer(layer) for layer in decoder.layers if isinstance(layer, DecoderLayer)
        )
        self._output = Int8Linear(decoder.embedding.weight, None)

    @torch.no_grad()
    def source_position_rows(self) -> Tensor | None:
        """See :class:`TransformerDecoder`; its layers are for inference only."""
        return super().source_position_rows()

    def logits(self, output: Tensor) -> Tensor:
        """``[n, C]`` or ``[C] -> [..., V]``; those that are likeliest are as in float32."""
        rows = output.reshape(-1, output.shape[-1])
        scores: Tensor = self._output(rows)
        likeliest = scores.topk(min(RESCORED, scores.shape[1]), dim=1).indices
        for row, found, own in zip(rows, likeliest, scores, strict=True):
            own[found] = functional.linear(row, self.embedding.weight[found])
        return scores.view(*output.shape[:-1], -1)
