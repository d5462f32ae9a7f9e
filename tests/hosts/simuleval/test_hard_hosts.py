"""Hosts that send odd things, ask from several threads, or are killed; and no network."""

import asyncio
import logging
import os
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from simuleval.data.segments import EmptySegment, SpeechSegment

from echostream.constants import SAMPLE_RATE
from echostream.errors import AudioFormatError
from echostream.hosts.simuleval.agent import EchoStreamAgent
from echostream.scoring.log import read_log
from tests.hosts.simuleval.evaluator import evaluate
from tests.hosts.simuleval.test_agent import make_agent
from tests.session.hearing import assert_equal_states, hear
from tests.small_system import audio

ROOT = Path(__file__).parents[3]


@pytest.mark.fault("F15")
def test_finishing_twice_does_nothing_more(checkpoint: Path, translate: Any) -> None:
    translator = translate()
    heard = hear(translator, audio(1.0))
    step, state = translator.step([], None, heard.state, is_final=True)
    assert step.turns == ()
    assert state is heard.state
    agent = make_agent(checkpoint)
    last = SpeechSegment(content=audio(0.5).tolist(), sample_rate=SAMPLE_RATE, finished=True)
    assert agent.pushpop(last).finished
    for _ in range(2):
        again = agent.pushpop(EmptySegment(finished=True))
        assert again.finished and not again.content
    # A host that asks the policy itself, past SimulEval's own check.
    action = agent.policy()
    assert action.finished and not action.content


@pytest.mark.fault("F20")
def test_also_between_pushes_that_are_heard_together(checkpoint: Path) -> None:
    agent = make_agent(checkpoint)
    agent.push(SpeechSegment(content=[0.1] * 400, sample_rate=16_000))
    with pytest.raises(AudioFormatError, match="from 16000 to 8000 Hz after 400 samples"):
        agent.push(SpeechSegment(content=[0.1] * 400, sample_rate=8000))
    agent.pop()
    assert agent.states.session is not None
    assert agent.states.session.state.listener.front_end.samples_heard == 400


QUIET = np.round(audio(1.0, seed=7) * 4095).astype(np.int16)


@pytest.mark.fault("F22")
def test_types_survive_pushes_that_are_heard_together(checkpoint: Path) -> None:
    """Joined as lists, quiet 16-bit numbers would pass for loud floats."""

    def said(*parts: Any) -> Any:
        agent = make_agent(checkpoint)
        for part in parts:
            agent.push(SpeechSegment(content=part, sample_rate=SAMPLE_RATE))
        agent.pop()
        return agent.states.session.state

    expected = said(QUIET)
    assert_equal_states(said(QUIET[:9000], QUIET[9000:]), expected)
    floats = (QUIET.astype(np.float32) / 32768).tolist()
    assert_equal_states(said(floats[:9000], floats[9000:]), expected)
    # Also side by side, and one channel beside two of the same.
    assert_equal_states(said(QUIET[:9000], floats[9000:]), expected)
    pairs = np.stack((QUIET, QUIET), axis=1)
    assert_equal_states(said(QUIET[:5000], pairs[5000:9000], floats[9000:]), expected)


@pytest.mark.fault("F33")
def test_half_precision_on_the_cpu_is_a_warning_and_float32(checkpoint: Path, caplog: Any) -> None:
    agent = make_agent(checkpoint)
    with caplog.at_level(logging.WARNING):
        agent.to("cpu", fp16=True)
    assert "float32" in caplog.text
    parameters = agent.translator.listener.model.parameters()
    assert {parameter.dtype for parameter in parameters} == {torch.float32}


@pytest.mark.fault("F46")
def test_one_policy_call_at_a_time_and_no_audio_is_lost(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread pushes, two ask the policy; together they are the solo run."""
    agent = make_agent(checkpoint, policy="stub")
    samples = audio(2.0)
    expected = hear(agent.translator, samples)
    inside, most, turns = 0, 0, []
    original = agent.translator.step

    def step(*arguments: Any, **options: Any) -> Any:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.002)  # long enough for another thread to come in if it may
        result = original(*arguments, **options)
        turns.extend(result[0].turns)
        inside -= 1
        return result

    monkeypatch.setattr(agent.translator, "step", step)
    pushed = threading.Event()
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            while not agent.states.session.state.finished:
                agent.policy()
                if not pushed.is_set():
                    time.sleep(0.0005)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for start in range(0, len(samples), 800):
        agent.push(SpeechSegment(content=samples[start : start + 800].tolist(), sample_rate=16_000))
        time.sleep(0.0005)
    agent.push(EmptySegment(finished=True))
    pushed.set()
    for thread in threads:
        thread.join(timeout=60)
    assert errors == []
    assert most == 1
    assert tuple(turns) == expected.turns
    assert agent.states.session.state.listener.front_end.samples_heard == len(samples)


def listening() -> set[str]:
    """Listening sockets of this process, from the kernel; a library in C shows up here too."""
    mine = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            mine.add(os.readlink(entry))
        except OSError:
            continue
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6", "/proc/net/udp", "/proc/net/udp6"):
        if not Path(table).exists():
            continue
        for line in Path(table).read_text().splitlines()[1:]:
            columns = line.split()
            is_open = columns[3] == "0A" or "udp" in table
            if is_open and f"socket:[{columns[9]}]" in mine:
                found.add(f"{table} {columns[1]}")
    return found


@pytest.mark.fault("F53")
def test_nothing_listens_and_nothing_connects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The demo's evaluation, with every socket call of Python's refused."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        probe.listen()
        if Path("/proc/net/tcp").exists():
            assert len(listening()) == 1, "the check itself sees a listening socket"

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was touched")

    for name in ("bind", "listen", "connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("create_connection", "create_server", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(asyncio.AbstractEventLoop, "create_server", refuse)

    clips = ROOT / "eval" / "clips"
    sources = [str(ROOT / line) for line in (clips / "wav_list").read_text().splitlines()[:2]]
    (tmp_path / "list").write_text("\n".join(sources) + "\n")
    (tmp_path / "references").write_text("a b c\nd e f\n")
    agent = EchoStreamAgent(SimpleNamespace(record=str(tmp_path / "record")))
    evaluate(agent, tmp_path / "list", tmp_path / "references", tmp_path / "out")
    assert len(read_log(tmp_path / "out").instances) == 2
    if Path("/proc/net/tcp").exists():
        assert listening() == set()
