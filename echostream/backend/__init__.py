"""Compiled forms of the encoder's step: the same streams, the same states, less time."""

from echostream.backend.cache import default_cache
from echostream.backend.compiled_encoder import CompiledEncoder
from echostream.backend.select import (
    in_int8,
    installed_backends,
    make_backend,
    precisions_of,
)

__all__ = [
    "CompiledEncoder",
    "default_cache",
    "in_int8",
    "installed_backends",
    "make_backend",
    "precisions_of",
]
