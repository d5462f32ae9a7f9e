"""Whisper's encoder, streaming."""

from echostream.encoder.whisper.encoder import WhisperEncoder

__all__ = ["WhisperEncoder"]
