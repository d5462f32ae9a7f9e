"""Any sequence of things that can be done to streams, against a simple model of the agent.

The model of a stream is the list of samples pushed into it. What it must have said is what a run
over all these samples at once says. States are values: every state ever made is kept, and any of
them may be gone on from at any time.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    rule,
)
from simuleval.data.segments import EmptySegment, SpeechSegment

from echostream.constants import SAMPLE_RATE
from echostream.errors import AudioFormatError, StateMismatchError, StreamClosedError
from echostream.hosts.simuleval.agent import EchoStreamAgent
from echostream.session import Translator, TranslatorState, Turn
from echostream.session.saved_stream import restore_stream, save_stream
from tests.session.state_machines import run
from tests.session.stream_model import (
    Oracle,
    Piece,
    bad_audio,
    digest,
    kinds_of_bad_audio,
    pieces,
    rates,
)

CHUNK_SAMPLES = 5120
"""320 ms at 16 kHz."""
STEPS = {"translator": 900, "agent": 1_100}
"""Done in `make test`: 2,000 together."""
LONG = 40
"""Times as many, and with other draws each time, in the run marked slow."""


@dataclass(frozen=True)
class Stream:
    """A state and the model of it."""

    state: TranslatorState
    rate: int
    samples: tuple[np.ndarray, ...] = ()
    turns: tuple[Turn, ...] = ()
    digest: str = ""

    @property
    def num_samples(self) -> int:
        return sum(map(len, self.samples))


class TranslatorMachine(RuleBasedStateMachine):
    """Streams of a translator."""

    translator: Translator
    oracle: Oracle
    steps = 0
    ahead = 0
    """States with words that were said before they were certain."""

    streams = Bundle("streams")

    def _made(self, stream: Stream) -> Stream:
        assert stream.state.listener.front_end.samples_heard == stream.num_samples
        return dataclasses.replace(stream, digest=digest(stream.state))

    def _after(self, stream: Stream, piece: Piece, *, final: bool) -> Stream:
        step, state = self.translator.step(piece.pushed, stream.rate, stream.state, is_final=final)
        type(self).ahead += state.writer.generator.hypotheses[-1].num_ahead > 0
        return self._made(
            dataclasses.replace(
                stream,
                state=state,
                samples=(*stream.samples, piece.mono),
                turns=stream.turns + step.turns,
            )
        )

    def _counted(self) -> None:
        type(self).steps += 1

    def _refused(self, stream: Stream, error: type[Exception], *pushed: Any, final: bool) -> None:
        with pytest.raises(error):
            self.translator.step(*pushed, stream.state, is_final=final)
        assert digest(stream.state) == stream.digest

    @initialize(target=streams, rate=rates)
    def begin_first(self, rate: int) -> Stream:
        return self.begin(rate)

    def begin(self, rate: int) -> Stream:
        return self._made(Stream(self.translator.init_state(), rate))

    @rule(target=streams, rate=rates)
    def reset(self, rate: int) -> Stream:
        self._counted()
        return self.begin(rate)

    @rule(target=streams, stream=streams, several=st.lists(pieces, min_size=1, max_size=6))
    def push(self, stream: Stream, several: list[Piece]) -> Stream:
        """One or more in a row, so that some streams get long."""
        self._counted()
        for piece in several:
            if stream.state.finished:
                self._refused(stream, StreamClosedError, piece.pushed, stream.rate, final=False)
                continue
            stream = self._after(stream, piece, final=False)
            if stream.rate == SAMPLE_RATE:
                assert len(stream.turns) == stream.num_samples // CHUNK_SAMPLES
        return stream

    @rule(target=streams, stream=streams, piece=pieces)
    def finish(self, stream: Stream, piece: Piece) -> Stream:
        self._counted()
        if stream.state.finished:
            if piece.size:
                self._refused(stream, StreamClosedError, piece.pushed, stream.rate, final=True)
                return stream
            step, state = self.translator.step([], None, stream.state, is_final=True)
            assert step.turns == ()
            return dataclasses.replace(stream, state=state)
        after = self._after(stream, piece, final=True)
        assert after.state.finished
        if stream.rate == SAMPLE_RATE:
            assert after.state.writer.num_frames == after.num_samples // 320
        assert after.turns == self.oracle.turns(after.samples, after.rate, final=True)
        return after

    @rule(stream=streams)
    def compare(self, stream: Stream) -> None:
        self._counted()
        assert stream.turns == self.oracle.turns(
            stream.samples, stream.rate, final=stream.state.finished
        )
        assert digest(stream.state) == stream.digest

    @rule(target=streams, stream=streams)
    def save_and_restore(self, stream: Stream) -> Stream:
        self._counted()
        data = save_stream(self.translator, stream.state)
        state = restore_stream(self.translator, data)
        assert save_stream(self.translator, state) == data
        assert digest(state) == stream.digest
        return dataclasses.replace(stream, state=state)

    @rule(stream=streams, place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
    def restore_altered(self, stream: Stream, place: float, bit: int) -> None:
        self._counted()
        data = bytearray(save_stream(self.translator, stream.state))
        data[int(place * len(data))] ^= 1 << bit
        with pytest.raises(StateMismatchError):
            restore_stream(self.translator, bytes(data))

    @rule(target=streams, stream=streams)
    def clone(self, stream: Stream) -> Stream:
        self._counted()
        listener = stream.state.listener
        state = dataclasses.replace(
            stream.state,
            listener=dataclasses.replace(
                listener,
                front_end=listener.front_end.clone(),
                encoder=listener.encoder.clone(),
            ),
        )
        assert digest(state) == stream.digest
        return dataclasses.replace(stream, state=state)

    @rule(stream=streams, kind=kinds_of_bad_audio, final=st.booleans())
    def push_bad_audio(self, stream: Stream, kind: str, final: bool) -> None:
        self._counted()
        error = AudioFormatError
        if stream.state.finished:
            error = StreamClosedError
        elif kind == "rate" and not stream.num_samples:
            return
        self._refused(stream, error, *bad_audio(kind, stream.rate), final=final)


@dataclass(eq=False)
class Session:
    """Streams one after the other in one states object, and the model of the present one."""

    states: Any
    """``None`` for the agent's own."""
    rate: int
    samples: list[np.ndarray] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    finished: bool = False
    unread: bool = False

    def restart(self, rate: int) -> None:
        self.rate, self.finished, self.unread = rate, False, False
        self.samples, self.said = [], []


class AgentMachine(RuleBasedStateMachine):
    """Sessions of a SimulEval agent, its own states among them."""

    agent: EchoStreamAgent
    oracle: Oracle
    steps = 0

    sessions = Bundle("sessions")

    def _counted(self) -> None:
        type(self).steps += 1

    def _states(self, session: Session) -> Any:
        return self.agent.states if session.states is None else session.states

    def _segment(self, session: Session, piece: Piece, *, finished: bool) -> SpeechSegment:
        content = piece.pushed
        return SpeechSegment(
            content=content if isinstance(content, list) else content.tolist(),
            sample_rate=session.rate,
            finished=finished,
            tgt_lang=None,
        )

    def _hear(self, session: Session, answer: Any) -> None:
        """Check an answer of the agent and what has been said so far."""
        if answer.content:
            session.said += answer.content.split()
        session.unread = False
        assert bool(answer.finished) == session.finished
        if session.finished:
            turns = self.oracle.turns(session.samples, session.rate, final=True)
            assert session.said == [word for turn in turns for word in turn.words]

    @initialize(target=sessions, rate=rates)
    def own(self, rate: int) -> Session:
        self.agent.reset()
        return Session(None, rate)

    @rule(target=sessions, rate=rates)
    def open(self, rate: int) -> Session:
        self._counted()
        return Session(self.agent.build_states(), rate)

    @rule(session=sessions, piece=pieces, pop=st.booleans())
    def push(self, session: Session, piece: Piece, pop: bool) -> None:
        self._counted()
        if session.finished:
            if not piece.size:
                return
            # The stream was answered to its end, so this is the next one.
            session.restart(session.rate)
        self.agent.push(self._segment(session, piece, finished=False), session.states)
        session.samples.append(piece.mono)
        session.unread = True
        if pop:
            self._hear(session, self.agent.pop(session.states))

    @rule(session=sessions)
    def pop(self, session: Session) -> None:
        self._counted()
        self._hear(session, self.agent.pop(session.states))

    @rule(session=sessions)
    def push_nothing(self, session: Session) -> None:
        self._counted()
        answer = self.agent.pushpop(EmptySegment(), session.states)
        self._hear(session, answer)

    @rule(session=sessions, piece=pieces, empty=st.booleans())
    def finish(self, session: Session, piece: Piece, empty: bool) -> None:
        self._counted()
        if session.finished:
            answer = self.agent.pushpop(EmptySegment(finished=True), session.states)
            assert not answer.content and answer.finished
            return
        session.finished = True
        if empty:
            answer = self.agent.pushpop(EmptySegment(finished=True), session.states)
        else:
            session.samples.append(piece.mono)
            answer = self.agent.pushpop(
                self._segment(session, piece, finished=True), session.states
            )
        self._hear(session, answer)

    @rule(session=sessions, rate=rates)
    def reset(self, session: Session, rate: int) -> None:
        self._counted()
        if session.states is None:
            self.agent.reset()
        else:
            session.states.reset()
        session.restart(rate)

    @rule(session=sessions)
    def save_and_restore(self, session: Session) -> None:
        self._counted()
        states, translator = self._states(session), self.agent.translator
        data = save_stream(translator, states.session.state)
        states.session.state = restore_stream(translator, data)

    @rule(target=sessions, session=sessions)
    def branch(self, session: Session) -> Session:
        """The stream goes on in two states objects."""
        self._counted()
        if session.finished or session.unread:
            return session
        states = self.agent.build_states()
        states.session.state = self._states(session).session.state
        return Session(states, session.rate, [*session.samples], [*session.said])

    @rule(session=sessions, kind=kinds_of_bad_audio)
    def push_bad_audio(self, session: Session, kind: str) -> None:
        self._counted()
        heard = sum(map(len, session.samples))
        if session.finished or (kind == "rate" and not heard):
            return
        samples, rate = bad_audio(kind, session.rate)
        content = samples if isinstance(samples, list) else samples.tolist()
        segment = SpeechSegment(content=content, sample_rate=-1 if rate is None else rate)
        states = self._states(session)
        before = states.session.state
        unread = list(states.unread)
        with pytest.raises(AudioFormatError):
            self.agent.push(segment, session.states)
        assert states.session.state is before
        assert list(map(id, states.unread)) == list(map(id, unread))


@pytest.fixture
def translator_machine(translate) -> Iterator[type[TranslatorMachine]]:
    # The search and the policy that remember most.
    TranslatorMachine.translator = translate(
        decoder="prefix-beam", policy="local-agreement", policy_options="n=2"
    )
    TranslatorMachine.oracle = Oracle(TranslatorMachine.translator)
    TranslatorMachine.ahead = 0
    yield TranslatorMachine
    assert TranslatorMachine.ahead > 5
    assert TranslatorMachine.oracle.words > 40, "there was something to compare"


@pytest.fixture
def agent_machine(checkpoint: Path) -> Iterator[type[AgentMachine]]:
    options = SimpleNamespace(checkpoint=str(checkpoint), decoder="greedy", policy="ctc")
    AgentMachine.agent = EchoStreamAgent(options)
    AgentMachine.oracle = Oracle(AgentMachine.agent.translator)
    yield AgentMachine
    assert AgentMachine.oracle.words > 10, "there was something to compare"


@pytest.mark.fault("F05", "F14", "F20", "F38", "F45")
def test_streams_of_a_translator(translator_machine) -> None:
    run(translator_machine, STEPS["translator"], derandomize=True)


@pytest.mark.fault("F12", "F13", "F14", "F16", "F45")
def test_sessions_of_an_agent(agent_machine) -> None:
    run(agent_machine, STEPS["agent"], derandomize=True)


@pytest.mark.slow
def test_streams_of_a_translator_at_length(translator_machine) -> None:
    run(translator_machine, LONG * STEPS["translator"], derandomize=False)


@pytest.mark.slow
def test_sessions_of_an_agent_at_length(agent_machine) -> None:
    run(agent_machine, LONG * STEPS["agent"], derandomize=False)
