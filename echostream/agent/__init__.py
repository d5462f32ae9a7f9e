"""The agent: a translator of streams, and its adapters to hosts.

Importing this package does not import SimulEval; ``echostream.agent.simuleval_agent`` does.
"""

from echostream.agent.build import build_translator
from echostream.agent.options import AgentOptions
from echostream.agent.translator import Step, Translator, TranslatorState
from echostream.agent.writer import Turn

__all__ = ["AgentOptions", "Step", "Translator", "TranslatorState", "Turn", "build_translator"]
