"""A SimulEval agent that writes from a script: what a log of a real run looks like.

Run by ``simuleval --agent`` in ``test_simuleval.py``. The logs in ``golden/`` were written with it
by SimulEval's main (536de82) and by the release 1.1.4, in a folder with the recordings and
references of ``simuleval_run.py``:

    simuleval --agent scripted_agent.py --source sources.txt --target references.txt --output out \
        --source-segment-size 320 --computation-aware
"""

import time

from simuleval.agents import AgentStates, SpeechToTextAgent
from simuleval.agents.actions import Action, ReadAction, WriteAction
from simuleval.utils import entrypoint

# Per utterance: what to write after which segment; the last entry goes out at the end.
SCRIPTS: list[tuple[dict[int, str], str]] = [
    ({1: "The", 2: "cat sat", 4: "on"}, "the mat."),
    ({}, ""),
    ({2: "One two three", 3: "four"}, "five six seven"),
    ({}, "All at the end."),
]


@entrypoint
class ScriptedAgent(SpeechToTextAgent):
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
