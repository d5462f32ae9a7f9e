"""Whisper's encoder, streaming."""

from echostream.encoder.whisper.encoder import WhisperEncoder
from echostream.encoder.whisper.int8 import Int8WhisperEncoder

__all__ = ["Int8WhisperEncoder", "WhisperEncoder"]
