"""Forty seconds of `eval.soak`, and that it sees what it is there to see."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from echostream.hosts.simuleval.agent import EchoStreamAgent
from echostream.session import Text
from eval.soak import KINDS, Soak, Window, find_speech, slope, soak

SPEECH = find_speech(Path("nothing here"))


def make_agent(checkpoint: Path) -> EchoStreamAgent:
    return EchoStreamAgent(SimpleNamespace(checkpoint=str(checkpoint), policy="stub"))


@pytest.mark.fault("F17")
def test_forty_seconds_of_everything(checkpoint: Path) -> None:
    result = soak(make_agent(checkpoint), 40, SPEECH, window_s=2)
    assert result.faults == []
    counts = result.counts
    assert result.audio_s >= 40 and counts["utterances"] >= 15 and counts["words"] > 30
    assert all(counts[kind] > 0 for kind in (*KINDS, "resets", "refused"))
    assert len({window.state_bytes for window in result.windows}) == 1
    # A leak of all that is heard would be 3 MB each time, what earlier tests left comes but once.
    for _ in range(4):
        growth = result.growth()
        assert growth is not None
        if growth[0] < 2.5e6:
            break
        result = soak(make_agent(checkpoint), 40, SPEECH, window_s=2)
    assert growth[0] < 2.5e6


def short(agent: Any, seconds: float = 5.0) -> Soak:
    return soak(agent, seconds, SPEECH, window_s=0.5, seed=1)


def test_a_leak_is_seen(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = make_agent(checkpoint)
    hoard = []
    original = agent.translator.step

    def step(samples: Any, *rest: Any, **options: Any) -> Any:
        hoard.append(np.ones(2_500_000))  # 20 MB a segment
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
        found = short(agent).faults
    assert any(told in text for text in found)


def test_slopes_are_those_of_most_windows() -> None:
    x = [float(i) for i in range(11)]
    assert slope(x, [3 + 2 * i for i in x]) == 2.0
    busy = [100.0 if i in (4, 9) else 3 + 2 * i for i in x]
    assert slope(x, busy) == 2.0


MEBIBYTE = 2**20


@pytest.mark.parametrize(
    ("memory", "time", "told"),
    [
        (lambda i: 50 * MEBIBYTE * min(i, 10), lambda i: 20, ""),
        (lambda i: 0.03 * MEBIBYTE * i, lambda i: 20, "memory grew by 2.9 MiB"),
        (lambda i: 0, lambda i: 20 + 0.05 * i, "time per chunk grew by"),
    ],
)
def test_what_grows_is_a_problem_and_what_warms_up_is_not(
    memory: Any, time: Any, told: str
) -> None:
    windows = [Window(60.0 * i, int(memory(i)), float(time(i)), 1000) for i in range(1, 121)]
    problems = Soak(windows=windows).problems
    assert len(problems) == bool(told) and told in "".join(problems)
