"""Three minutes of `eval.soak`, and that it sees what it is there to see."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from echostream.hosts.simuleval.agent import EchoStreamAgent
from echostream.session import Text
from eval.soak.__main__ import Soak, Window, _slopes, slope, soak
from eval.soak.audio import find_speech

SPEECH = find_speech(Path("nothing here"))


def make_agent(checkpoint: Path) -> EchoStreamAgent:
    return EchoStreamAgent(SimpleNamespace(checkpoint=str(checkpoint), policy="stub"))


@pytest.mark.fault("F17")
def test_three_minutes_of_everything(checkpoint: Path) -> None:
    result = soak(make_agent(checkpoint), 180, SPEECH, window_s=9)
    assert result.faults == []
    assert result.audio_s >= 180 and result.utterances >= 20
    assert len(result.kinds) == 5 and result.words > 100
    assert result.resets > 0 and result.refused > 0
    assert len({window.state_bytes for window in result.windows}) == 1
    # A leak of all that is heard would be 16 MB here; allocators come and go by less.
    assert result.memory_growth_bytes is not None
    assert result.memory_growth_bytes < 14 * 10**6


def short(agent: Any, seconds: float = 20.0, **options: Any) -> Soak:
    return soak(agent, seconds, SPEECH, window_s=2, seed=1, **options)


def test_a_leak_is_seen(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = make_agent(checkpoint)
    hoard = []
    original = agent.translator.step

    def step(samples: Any, *rest: Any, **options: Any) -> Any:
        hoard.append(np.ones(400_000))  # 3 MB a segment
        return original(samples, *rest, **options)

    monkeypatch.setattr(agent.translator, "step", step)
    result = short(agent)
    assert result.faults == []
    assert any("memory grew" in problem for problem in result.problems)


def test_a_leak_into_the_next_utterance_is_seen(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = make_agent(checkpoint)
    first = agent.translator.init_state()
    encoder = first.listener.encoder
    memory = encoder.memory
    assert memory is not None
    calls = iter(range(10**6))

    def init_state(reference: str | None = None) -> Any:
        changed = dataclasses.replace(memory, groups=memory.groups + 1e-3 * (next(calls) > 3))
        state = dataclasses.replace(encoder, memory=changed)
        return dataclasses.replace(
            first, listener=dataclasses.replace(first.listener, encoder=state)
        )

    monkeypatch.setattr(agent.translator, "init_state", init_state)
    assert any("a reset left a trace" in fault for fault in short(agent).faults)


@pytest.mark.parametrize("fault", ["count", "nan", "half word", "swallowed", "crash"])
def test_each_fault_is_seen(checkpoint: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    agent = make_agent(checkpoint)
    original = agent.translator.step

    def step(samples: Any, rate: Any, state: Any, *, is_final: bool) -> Any:
        if fault == "swallowed" and not is_final:
            samples = samples[1:]
        result, after = original(samples, rate, state, is_final=is_final)
        if fault == "count":
            writer = dataclasses.replace(after.writer, num_written=after.writer.num_written + 1)
            after = dataclasses.replace(after, writer=writer)
        elif fault == "crash":
            raise ZeroDivisionError("of its own")
        elif fault == "nan" and is_final:
            encoder = after.listener.encoder
            poisoned = dataclasses.replace(encoder, pending=encoder.pending * float("nan"))
            listener = dataclasses.replace(after.listener, encoder=poisoned)
            after = dataclasses.replace(after, listener=listener)
        elif fault == "half word" and result.turns:
            turn = dataclasses.replace(result.turns[0], output=Text(("half a",)))
            result = dataclasses.replace(result, turns=(turn, *result.turns[1:]))
        return result, after

    monkeypatch.setattr(agent.translator, "step", step)
    told = {
        "count": "words_written is",
        "nan": "pending is not finite",
        "half word": "words_written is",
        "swallowed": "samples_heard is",
        "crash": "ZeroDivisionError in mid-stream: of its own",
    }[fault]
    with torch.no_grad():
        found = short(agent, 8.0).faults
    assert any(told in text for text in found)


def test_slopes_are_those_of_most_windows() -> None:
    x = [float(i) for i in range(11)]
    assert slope(x, [3 + 2 * i for i in x]) == 2.0
    busy = [100.0 if i in (4, 9) else 3 + 2 * i for i in x]
    assert slope(x, busy) == 2.0


def windows(rss: Any, cpu: Any) -> Soak:
    result = Soak(
        windows=[Window(60.0 * i, int(rss(i)), float(cpu(i)), 1000) for i in range(1, 121)]
    )
    _slopes(result)
    return result


def test_what_grows_is_a_problem_and_what_warms_up_is_not() -> None:
    mebibyte = 2**20
    steady = windows(lambda i: 300 * mebibyte + 50 * mebibyte * min(i, 10), lambda i: 20)
    assert steady.problems == []
    grows = windows(lambda i: 300 * mebibyte + 0.03 * mebibyte * i, lambda i: 20)
    assert len(grows.problems) == 1 and "memory grew by 2.9 MiB" in grows.problems[0]
    slows = windows(lambda i: 300 * mebibyte, lambda i: 20 + 0.05 * i)
    assert len(slows.problems) == 1 and "time per chunk grew by" in slows.problems[0]
