"""Whole agents under SimulEval's interface, for :mod:`eval.bench`.

They are meant for a process of their own, as an agent has: in one that has held dozens of compiled
encoders before, memory is in pieces, and all that is not the encoder takes longer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from simuleval.data.segments import SpeechSegment

from echostream.constants import SAMPLE_RATE
from echostream.hosts.simuleval.agent import EchoStreamAgent
from echostream.session import Session
from echostream.session.costs import Costs
from echostream.verification.signals import varied
from eval.bench.agents import AgentTimes, Push, run_agents

_WORDS_PER_S = 3


def compare_agents(
    config: Path,
    backends: Sequence[str],
    baseline: str | None,
    segment_ms: int,
    seconds: int,
    folder: Path,
    *,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> list[AgentTimes]:
    """EchoStream's agent on each backend, and the baseline's with caches and as published.

    The weights are random, so the writer is a forced one: the policy decides when to write, and the
    words are given. Both CTC searches run all the same.

    What comes back has been run and cannot be run again.

    Args:
        config: of EchoStream's system.
        backends: to run it on.
        baseline: of the baseline's system; ``None`` to leave it out.
        segment_ms: of a segment.
        seconds: of the recording.
        folder: for files that the agents need.
        progress: wraps the numbers of the segments.
    """
    words = folder / "words.txt"
    words.write_text(
        " ".join(f"word{number}" for number in range(_WORDS_PER_S * seconds)) + "\n",
        encoding="utf-8",
    )
    wanted = {
        f"EchoStream, {backend}": {"random_weights": str(config), "backend": backend}
        for backend in backends
    }
    if baseline is not None:
        for mode in ("cached", "recompute"):
            wanted[f"StreamSpeech, {mode}"] = {"random_weights": baseline, "encoder_mode": mode}
    agents = []
    for name, options in wanted.items():
        agent = EchoStreamAgent(SimpleNamespace(forced_target=str(words), **options))
        agents.append(AgentTimes(name, _pusher(agent, words.read_text(encoding="utf-8"))))
    warm = varied(np.random.default_rng(1), 2 * segment_ms * SAMPLE_RATE // 1000)
    samples = varied(np.random.default_rng(2), seconds * SAMPLE_RATE)
    run_agents([AgentTimes(agent.name, agent.push) for agent in agents], warm, segment_ms)
    run_agents(agents, samples, segment_ms, progress=progress)
    for times in agents:
        times.push = _ended  # An agent cannot go to another process.
    return agents


def _ended(segment: list[float], is_last: bool) -> Costs:
    raise RuntimeError("this agent was left in the process that ran it")


def _pusher(agent: EchoStreamAgent, reference: str) -> Push:
    def push(segment: list[float], is_last: bool) -> Costs:
        if agent.states.target_finished:
            agent.reset()
            # One line of words serves every recording.
            agent.states.session = Session(agent.translator, reference=reference)
        agent.pushpop(SpeechSegment(content=segment, sample_rate=SAMPLE_RATE, finished=is_last))
        assert agent.states.session is not None
        return agent.states.session.last_costs

    return push
