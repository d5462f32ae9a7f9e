"""The runtime contract: a translator that streams share, and one session for each stream.

Importing this package imports no host.
"""

from echostream.session.build import build_translator
from echostream.session.options import SystemOptions
from echostream.session.session import Observer, Segment, Session, StreamObserver
from echostream.session.translator import Step, Translator, TranslatorState
from echostream.session.writer import Output, Speech, Text, Turn

__all__ = [
    "Observer",
    "Output",
    "Segment",
    "Session",
    "Speech",
    "Step",
    "StreamObserver",
    "SystemOptions",
    "Text",
    "Translator",
    "TranslatorState",
    "Turn",
    "build_translator",
]
