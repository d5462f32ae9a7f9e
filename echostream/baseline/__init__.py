"""The system EchoStream is compared with: StreamSpeech's encoder, as published and exact."""

from echostream.baseline.chunk_conformer import ChunkConformerEncoder
from echostream.baseline.chunk_sizes import WHOLE_RECORDING
from echostream.baseline.recomputing_front_end import RecomputingFrontEnd
from echostream.baseline.state import ChunkConformerState

__all__ = [
    "WHOLE_RECORDING",
    "ChunkConformerEncoder",
    "ChunkConformerState",
    "RecomputingFrontEnd",
]
