"""The streaming Zipformer encoder and its state."""

from echostream.encoder.protocol import EncoderOutput
from echostream.encoder.stepping import WHOLE_RECORDING
from echostream.encoder.stream_state import StreamState
from echostream.encoder.streaming import ChunkBuffer, StreamingEncoder, StreamingPipeline
from echostream.encoder.zipformer import ZipformerEncoder

__all__ = [
    "WHOLE_RECORDING",
    "ChunkBuffer",
    "EncoderOutput",
    "StreamState",
    "StreamingEncoder",
    "StreamingPipeline",
    "ZipformerEncoder",
]
