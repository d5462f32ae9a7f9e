"""A SimulEval agent that writes SentencePiece pieces, as StreamSpeech's agents do.

The log ``golden/streamspeech`` was written with it by StreamSpeech's fork of SimulEval (375a73a),
with the options of ``scripted_agent.py`` and

    --latency-metrics AL LAAL AP DAL ATD StartOffset EndOffset NumChunks RTF
"""

import sys
import time
from pathlib import Path

from simuleval.agents import AgentStates, SpeechToTextAgent
from simuleval.agents.actions import Action, ReadAction, WriteAction
from simuleval.utils import entrypoint

# SimulEval loads this file by its path, so that the folder must be found first.
sys.path.insert(0, str(Path(__file__).parent))
from scripts import PIECES as SCRIPTS  # noqa: E402


@entrypoint
class ScriptedPiecesAgent(SpeechToTextAgent):
    utterance = -2

    def reset(self) -> None:
        super().reset()
        self.segments = 0
        self.utterance += 1  # in the constructor, before the first, after each

    def policy(self, states: AgentStates | None = None) -> Action:
        states = states or self.states
        self.segments += 1
        time.sleep(0.002)
        writes, last = SCRIPTS[self.utterance]
        if states.source_finished:
            return WriteAction(last, finished=True)
        if self.segments in writes:
            return WriteAction(writes[self.segments], finished=False)
        return ReadAction()
