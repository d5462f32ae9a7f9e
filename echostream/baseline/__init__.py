"""The system EchoStream is compared with: StreamSpeech's encoder, as published and exact."""

from echostream.baseline.chunk_conformer import ChunkConformerEncoder
from echostream.baseline.convolution import WHOLE_RECORDING
from echostream.baseline.layer import ChunkConformerState
from echostream.baseline.recomputing_front_end import RecomputingFrontEnd

__all__ = [
    "WHOLE_RECORDING",
    "ChunkConformerEncoder",
    "ChunkConformerState",
    "RecomputingFrontEnd",
]
