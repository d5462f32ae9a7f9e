"""A SimulEval agent with speech output that writes tones from a script, see scripted_agent.py.

The logs ``golden/*-speech`` were written with it by the release 1.1.4, by SimulEval's main
(536de82) and by StreamSpeech's fork (375a73a), with the options of ``scripted_agent.py`` and

    --latency-metrics StartOffset EndOffset ATD NumChunks RTF AL LAAL AP DAL

without --computation-aware, with which the first two end in an exception; the fork had it, and
DiscontinuitySum, DiscontinuityAve and DiscontinuityNum.
"""

from simuleval.agents import AgentStates, SpeechToSpeechAgent
from simuleval.agents.actions import Action, ReadAction, WriteAction
from simuleval.data.segments import SpeechSegment
from simuleval.utils import entrypoint

RATE = 8_000
# Per utterance: ms of speech to write after which segment; the last entry goes out at the end.
SCRIPTS: list[tuple[dict[int, int], int]] = [
    ({1: 200, 2: 700, 4: 100}, 650),
    ({}, 0),
    ({2: 1000, 3: 250}, 300),
    ({}, 450),
]


@entrypoint
class ScriptedSpeechAgent(SpeechToSpeechAgent):
    utterance = -2

    def reset(self) -> None:
        super().reset()
        self.segments = 0
        self.utterance += 1  # in the constructor, before the first, after each

    def policy(self, states: AgentStates | None = None) -> Action:
        states = states or self.states
        self.segments += 1
        writes, last = SCRIPTS[self.utterance]
        if states.source_finished:
            return WriteAction(speech(last, finished=True), finished=True)
        if self.segments in writes:
            return WriteAction(speech(writes[self.segments], finished=False), finished=False)
        return ReadAction()


def speech(milliseconds: int, finished: bool) -> SpeechSegment:
    content = [0.1] * (milliseconds * RATE // 1000)
    return SpeechSegment(content=content, sample_rate=RATE, finished=finished)
