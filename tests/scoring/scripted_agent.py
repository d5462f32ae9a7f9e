"""A SimulEval agent that writes from a script: what a log of a real run looks like.

Run by ``simuleval --agent`` in ``test_simuleval.py``. The logs in ``golden/`` were written with it
in a folder with the recordings and references of ``simuleval_run.py``:

    SCRIPT=words simuleval --agent scripted_agent.py --source sources.txt \
        --target references.txt --output out --source-segment-size 320 --computation-aware

words: by SimulEval's main (536de82) and by the release 1.1.4. pieces, as StreamSpeech's agents
write them: by StreamSpeech's fork of SimulEval (375a73a), with ``--latency-metrics AL LAAL AP DAL
ATD StartOffset EndOffset NumChunks RTF``. speech: by all three, with ``--latency-metrics
StartOffset EndOffset ATD NumChunks RTF AL LAAL AP DAL``, without --computation-aware, with which
the first two end in an exception; the fork had it, and DiscontinuitySum, DiscontinuityAve and
DiscontinuityNum.
"""

import os
import sys
import time
from pathlib import Path

from simuleval.agents import AgentStates, SpeechToSpeechAgent, SpeechToTextAgent
from simuleval.agents.actions import Action, ReadAction, WriteAction
from simuleval.data.segments import SpeechSegment
from simuleval.utils import entrypoint

# SimulEval loads this file by its path, so that the folder must be found first.
sys.path.insert(0, str(Path(__file__).parent))
from simuleval_run import SCRIPTS  # noqa: E402

KIND = os.environ.get("SCRIPT", "words")
RATE = 8_000


@entrypoint
class ScriptedAgent(SpeechToSpeechAgent if KIND == "speech" else SpeechToTextAgent):
    utterance = -2

    def reset(self) -> None:
        super().reset()
        self.segments = 0
        self.utterance += 1  # in the constructor, before the first, after each

    def policy(self, states: AgentStates | None = None) -> Action:
        states = states or self.states
        self.segments += 1
        time.sleep(0.002)
        writes, last = SCRIPTS[KIND][self.utterance]
        if states.source_finished:
            return WriteAction(content(last, finished=True), finished=True)
        if self.segments in writes:
            return WriteAction(content(writes[self.segments], finished=False), finished=False)
        return ReadAction()


def content(said: str | int, finished: bool) -> str | SpeechSegment:
    """Text, or so many ms of speech."""
    if isinstance(said, str):
        return said
    samples = [0.1] * (said * RATE // 1000)
    return SpeechSegment(content=samples, sample_rate=RATE, finished=finished)
