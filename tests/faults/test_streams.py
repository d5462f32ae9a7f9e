"""F45, F46, F53: several streams, several threads, and no network."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from simuleval.data.segments import EmptySegment, SpeechSegment

from echostream.constants import SAMPLE_RATE
from echostream.errors import AudioFormatError
from echostream.hosts.simuleval.agent import EchoStreamAgent
from echostream.scoring.log import read_log
from tests.faults.conftest import ROOT, hear
from tests.hosts.simuleval.evaluator import evaluate
from tests.small_system import audio


def make_agent(checkpoint: Path, **options: Any) -> EchoStreamAgent:
    return EchoStreamAgent(SimpleNamespace(checkpoint=str(checkpoint), **options))


def test_F45_a_hundred_interleaved_streams_each_equal_their_solo_run(translate: Any) -> None:
    translator = translate(policy="stub")
    recordings = [audio(0.7 + 0.005 * n, seed=n) for n in range(100)]
    states = [translator.init_state() for _ in recordings]
    turns: list[list[Any]] = [[] for _ in recordings]
    for start in range(0, 20_000, 5000):
        for n, samples in enumerate(recordings):
            if start < len(samples):
                end = start + 5000
                step, states[n] = translator.step(
                    samples[start:end], SAMPLE_RATE, states[n], is_final=end >= len(samples)
                )
                turns[n] += step.turns
    solo = [hear(translator, samples, len(samples)) for samples in recordings]
    assert [tuple(each) for each in turns] == [heard.turns for heard in solo]
    assert len({heard.decisions for heard in solo}) > 90


def test_F45_an_error_in_one_stream_does_not_reach_the_others(checkpoint: Path) -> None:
    agent = make_agent(checkpoint, policy="stub")
    samples = audio(1.0)
    alone, beside, broken = (agent.build_states() for _ in range(3))

    def push(states: Any, start: int, rate: int = SAMPLE_RATE) -> Any:
        content = samples[start : start + 4000].tolist()
        final = start + 4000 >= len(samples)
        return agent.pushpop(
            SpeechSegment(content=content, sample_rate=rate, finished=final), states
        ).content

    expected = [push(alone, start) for start in range(0, 16_000, 4000)]
    found = []
    for start in range(0, 16_000, 4000):
        found.append(push(beside, start))
        if start == 4000:
            push(broken, 0)
        if start == 8000:
            with pytest.raises(AudioFormatError):
                push(broken, 0, rate=11_025)
    assert found == expected


def test_F46_one_policy_call_at_a_time_and_no_audio_is_lost(
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
            while not agent.states.translator_state.finished:
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
    assert agent.states.translator_state.listener.front_end.samples_heard == len(samples)


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


def test_F53_nothing_listens_and_nothing_connects(
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
