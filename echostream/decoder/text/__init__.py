"""Autoregressive text decoders with kept state."""

from echostream.decoder.text.generator import TransformerGenerator
from echostream.decoder.text.state import TextState
from echostream.decoder.text.transformer import TransformerDecoder

__all__ = ["TextState", "TransformerDecoder", "TransformerGenerator"]
