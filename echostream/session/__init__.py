"""The agent: a translator of streams, and its adapters to hosts.

Importing this package does not import SimulEval; ``echostream.hosts.simuleval.agent`` does.
"""

from echostream.session.build import build_translator
from echostream.session.options import AgentOptions
from echostream.session.translator import Step, Translator, TranslatorState
from echostream.session.writer import Turn

__all__ = ["AgentOptions", "Step", "Translator", "TranslatorState", "Turn", "build_translator"]
