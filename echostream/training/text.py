"""Text as the model learns to write it."""

from echostream.text import normalise

__all__ = ["normalise"]
