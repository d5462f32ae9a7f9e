"""Whisper's encoder with int8 weights."""

from typing import Any

import torch
from torch import Tensor, nn

from echostream.encoder.int8_linear import Int8Linear
from echostream.encoder.linear import Linear
from echostream.encoder.protocol import EncoderOutput
from echostream.encoder.whisper.encoder import WhisperEncoder
from echostream.encoder.whisper.layer import WhisperLayer
from echostream.errors import ConfigError


class Int8WhisperEncoder(WhisperEncoder):
    """The linear layers of ``encoder`` in int8, for streams on the CPU; the rest is shared.

    States are those of ``encoder``, so that a stream may go on in the other precision.

    Raises:
        ConfigError: if the encoder is not on the CPU in float32, or there is no product of int8
            weights here.
    """

    precision = "int8"

    def __init__(self, encoder: WhisperEncoder) -> None:
        nn.Module.__init__(self)
        if encoder.dtype != torch.float32 or encoder.norm.bias.device.type != "cpu":
            raise ConfigError(
                f"the encoder is {encoder.dtype} on {encoder.norm.bias.device}; --precision int8 "
                "expects torch.float32 on cpu"
            )
        self.config, self.layout = encoder.config, encoder.layout
        self._fingerprint = encoder.fingerprint()
        self.conv1, self.conv2, self.norm = encoder.conv1, encoder.conv2, encoder.norm
        for name, buffer in encoder.named_buffers(recurse=False):
            self.register_buffer(name, buffer)
        self.layers = nn.ModuleList(
            _Int8Layer(layer) for layer in encoder.layers if isinstance(layer, WhisperLayer)
        )

    def fingerprint(self) -> str:
        """Of the encoder that it was made from."""
        return self._fingerprint

    def forward(
        self, features: Tensor, lengths: Tensor | None = None, **chunking: Any
    ) -> EncoderOutput:
        """See :class:`WhisperEncoder`; in int8, and without gradients."""
        with torch.no_grad():
            return super().forward(features, lengths, **chunking)


class _Int8Layer(WhisperLayer):
    def __init__(self, layer: WhisperLayer) -> None:
        nn.Module.__init__(self)
        self.num_heads = layer.num_heads
        for name, module in layer.named_children():
            int8 = Int8Linear.of(module) if isinstance(module, Linear) else module
            self.add_module(name, int8)
