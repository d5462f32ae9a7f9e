"""Autoregressive text decoders with kept state."""

from echostream.decoder.text.generator import TextState, TransformerGenerator
from echostream.decoder.text.transformer import TransformerDecoder

__all__ = ["TextState", "TransformerDecoder", "TransformerGenerator"]
