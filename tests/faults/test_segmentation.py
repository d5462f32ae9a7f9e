"""F09 to F18: how the audio may be cut."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from simuleval.data.segments import EmptySegment, SpeechSegment

from echostream.constants import SAMPLE_RATE
from echostream.errors import AudioFormatError, StreamClosedError
from echostream.hosts.simuleval.agent import EchoStreamAgent
from echostream.scoring.log import read_log
from echostream.scoring.problems import check_instances
from echostream.session import TranslatorState
from tests.faults.conftest import assert_equal_states, hear
from tests.scoring.logs import record, write_log
from tests.small_system import audio

POLICIES = ("ctc", "wait-k", "local-agreement")


def make_agent(checkpoint: Path, **options: Any) -> EchoStreamAgent:
    return EchoStreamAgent(SimpleNamespace(checkpoint=str(checkpoint), **options))


def segment(samples: Any, finished: bool = False, rate: int = SAMPLE_RATE) -> SpeechSegment:
    return SpeechSegment(content=samples.tolist(), sample_rate=rate, finished=finished)


def contents(answers: list[Any]) -> str:
    return " ".join(answer.content for answer in answers if answer.content)


def test_F09_nothing_at_all_is_one_finished_empty_write(checkpoint: Path) -> None:
    for last in (EmptySegment(finished=True), segment(np.zeros(0), finished=True)):
        answer = make_agent(checkpoint).pushpop(last)
        assert (answer.content, answer.finished) == ("", True)


def test_F09_the_scorer_counts_such_a_line(tmp_path: Path) -> None:
    empty = record(
        index=1, prediction="", delays=[], elapsed=[], prediction_length=0, source_length=0.0
    )
    write_log(tmp_path / "instances.log", [record(index=0), empty])
    log = read_log(tmp_path)
    assert len(log.instances) == 2
    kinds = {problem.kind: problem.count for problem in check_instances(log.instances)}
    assert kinds == {"empty-prediction": 1, "empty-source": 1}


@pytest.mark.parametrize("length", [1, 159, 160, 399, 400, 5119])
def test_F10_short_audio_is_as_offline(translate: Any, length: int) -> None:
    translator = translate()
    samples = audio(1.0)[:length]
    offline = hear(translator, samples, length)
    assert offline.turns[-1].reason == "source finished"
    assert len(offline.frames) == length // 320
    for size in (1, 100):
        heard = hear(translator, samples, size)
        assert heard.decisions == offline.decisions
        assert np.array_equal(heard.frames, offline.frames)


@pytest.mark.parametrize("policy", POLICIES)
def test_F11_every_segmentation_decides_the_same_at_the_same_times(
    translate: Any, policy: str
) -> None:
    decoder = "prefix-beam" if policy == "local-agreement" else "greedy"
    translator = translate(policy=policy, decoder=decoder)
    samples = audio(2.1, seed=4)
    whole = hear(translator, samples, len(samples))
    assert whole.words
    ragged = np.random.default_rng(0).integers(0, 9000, 40).tolist()
    for sizes in (5120, 7919, 997, ragged):
        heard = hear(translator, samples, sizes)
        assert heard.decisions == whole.decisions
        np.testing.assert_allclose(heard.frames, whole.frames, atol=1e-5)


def test_F11_segments_of_one_sample(translate: Any) -> None:
    translator = translate(policy="stub")
    samples = audio(0.5)
    # 5113 samples one by one, across a whole chunk with the rest.
    heard = hear(translator, samples, [*[1] * 5200, 8000])
    assert heard.decisions == hear(translator, samples, len(samples)).decisions


def test_F12_empty_segments_change_nothing(checkpoint: Path) -> None:
    samples = audio(1.5)
    parts = [samples[i : i + 4000] for i in range(0, len(samples), 4000)]
    agent = make_agent(checkpoint)
    plain = [agent.pushpop(segment(part, n == len(parts) - 1)) for n, part in enumerate(parts)]
    agent.reset()
    answers = []
    for part in parts:
        answers += [agent.pushpop(segment(part)), agent.pushpop(EmptySegment())]
        answers.append(agent.pushpop(segment(np.zeros(0), rate=-1)))
    answers.append(agent.pushpop(EmptySegment(finished=True)))
    assert contents(answers) == contents(plain)
    assert answers[-1].finished
    assert agent.states.translator_state.listener.front_end.samples_heard == len(samples)


@pytest.mark.parametrize("rest", [1, 100, 399])
def test_F13_a_short_last_segment_is_flushed(checkpoint: Path, rest: int) -> None:
    samples = audio(1.0)[: 10_240 + rest]
    agent = make_agent(checkpoint)
    answers = [agent.pushpop(segment(samples[i : i + 5120])) for i in (0, 5120)]
    answers.append(agent.pushpop(segment(samples[10_240:], finished=True)))
    assert answers[-1].finished
    agent.reset()
    assert contents(answers) == agent.pushpop(segment(samples, finished=True)).content


def test_F14_audio_after_the_end_is_refused(checkpoint: Path, translate: Any) -> None:
    agent = make_agent(checkpoint)
    agent.pushpop(segment(audio(0.5), finished=True))
    with pytest.raises(StreamClosedError, match="reset the agent"):
        agent.pushpop(segment(audio(0.1)))
    agent.reset()
    assert not agent.pushpop(segment(audio(0.1))).finished
    translator = translate()
    heard = hear(translator, audio(0.5))
    with pytest.raises(StreamClosedError):
        translator.step(audio(0.1), SAMPLE_RATE, heard.state, is_final=True)


def test_F15_finishing_twice_does_nothing_more(checkpoint: Path, translate: Any) -> None:
    translator = translate()
    heard = hear(translator, audio(1.0))
    step, state = translator.step([], None, heard.state, is_final=True)
    assert step.turns == ()
    assert state is heard.state
    agent = make_agent(checkpoint)
    assert agent.pushpop(segment(audio(0.5), finished=True)).finished
    for _ in range(2):
        again = agent.pushpop(EmptySegment(finished=True))
        assert again.finished and not again.content
    # A host that asks the policy itself, past SimulEval's own check.
    action = agent.policy()
    assert action.finished and not action.content


def test_F16_after_a_reset_a_stream_is_as_if_fresh(checkpoint: Path) -> None:
    samples = audio(1.5)

    def talk(agent: EchoStreamAgent) -> tuple[str, TranslatorState]:
        answers = [agent.pushpop(segment(part)) for part in np.split(samples, 4)]
        return contents(answers), agent.states.translator_state

    fresh, fresh_state = talk(make_agent(checkpoint))
    agent = make_agent(checkpoint)
    agent.reset()
    agent.reset()
    agent.pushpop(segment(audio(0.7, seed=9)))
    agent.push(segment(audio(0.2, seed=8)))  # never popped
    agent.reset()
    agent.reset()
    text, state = talk(agent)
    assert text == fresh
    assert_equal_states(state, fresh_state)


def test_F16_a_refused_segment_does_not_leak_into_the_next_stream(checkpoint: Path) -> None:
    agent = make_agent(checkpoint)
    agent.push(segment(audio(0.1)))
    with pytest.raises(AudioFormatError, match="not finite"):
        agent.push(segment(np.full(100, np.nan)))
    agent.reset()
    _ = agent.pushpop(segment(audio(0.5)))
    assert agent.states.translator_state.listener.front_end.samples_heard == 8000


HOURS_100 = 100 * 3600


def test_F17_positions_are_exact_after_a_hundred_hours(translate: Any) -> None:
    """A stream moved 100 hours on says and computes the same, to the bit."""
    translator = translate(policy="stub")
    start = hear_some(translator, audio(4.0, seed=2))
    moved = moved_on(start, seconds=HOURS_100)
    samples = audio(2.0, seed=3)
    one, other = hear(translator, samples, state=start), hear(translator, samples, state=moved)
    assert one.words == other.words != []
    assert np.array_equal(one.frames, other.frames)
    pairs = zip(other.turns, one.turns, strict=True)
    shift = {turn.audio_ms - before.audio_ms for turn, before in pairs}
    assert shift == {1000 * HOURS_100}
    counted = other.state.listener.encoder.processed_frames
    assert counted.dtype == torch.int64
    assert int(counted) == 50 * (HOURS_100 + 6)


def test_F17_the_state_does_not_grow(translate: Any) -> None:
    translator = translate(policy="stub")
    heard = hear(translator, audio(60.0, seed=1))
    assert len(set(heard.state_bytes)) == 1
    assert len(heard.state.writer.target.pending) == 0


def hear_some(translator: Any, samples: Any) -> TranslatorState:
    return translator.step(samples, SAMPLE_RATE, translator.init_state(), is_final=False)[1]


def moved_on(state: TranslatorState, seconds: int) -> TranslatorState:
    """The stream with all its counters further on, as if it had begun so much earlier."""
    listener, writer = state.listener, state.writer
    heard, frames = seconds * SAMPLE_RATE, seconds * 50
    front_end = dataclasses.replace(
        listener.front_end,
        resampler=dataclasses.replace(
            listener.front_end.resampler,
            samples_in=listener.front_end.resampler.samples_in + heard,
            samples_out=listener.front_end.resampler.samples_out + heard,
        ),
        fbank=dataclasses.replace(
            listener.front_end.fbank,
            samples_in=listener.front_end.fbank.samples_in + heard,
            frames_out=listener.front_end.fbank.frames_out + 2 * frames,
        ),
    )
    encoder = dataclasses.replace(
        listener.encoder, processed_frames=listener.encoder.processed_frames + frames
    )
    return TranslatorState(
        dataclasses.replace(listener, front_end=front_end, encoder=encoder),
        dataclasses.replace(writer, num_frames=writer.num_frames + frames),
    )


@pytest.mark.parametrize("size", [5121, 3333])
def test_F18_odd_segment_sizes(translate: Any, size: int) -> None:
    translator = translate()
    samples = audio(2.0)
    assert hear(translator, samples, size).decisions == hear(translator, samples, 5120).decisions


def test_F18_a_segment_of_more_than_thirty_seconds_is_cut_inside(translate: Any) -> None:
    translator = translate(policy="wait-k")
    samples = audio(33.0)
    whole, parts = hear(translator, samples, len(samples)), hear(translator, samples, 5120)
    assert whole.decisions == parts.decisions
    assert len(whole.turns) == 33_000 // 320 + 1
    assert whole.state_bytes[0] == parts.state_bytes[0]
