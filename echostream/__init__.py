"""EchoStream: simultaneous speech translation with a stateful streaming Zipformer encoder."""

__version__ = "0.1.0"
