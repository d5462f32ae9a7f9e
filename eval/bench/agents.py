"""Whole agents under SimulEval's interface, segment by segment, side by side.

All agents get a segment before any gets the next, so that they meet the same changes of the
machine's speed.
"""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from echostream.constants import SAMPLE_RATE
from echostream.session.costs import Costs
from echostream.verification.signals import varied
from eval.bench.rounds import CLOCKS, Clocks

ENCODER, HEADS = "encoder", "heads"
"""Stages that are the model's own arithmetic; all others are beside it."""

_WORDS_PER_S = 3

Push = Callable[[list[float], bool], Costs]
"""Gives an agent a segment, and whether it is the last; what its stages say they took."""


@dataclass
class AgentTimes:
    """What the segments cost an agent, ms."""

    name: str
    wall_ms: list[float] = field(default_factory=list)
    """Of the whole call that the host makes."""
    cpu_ms: list[float] = field(default_factory=list)
    costs: list[Costs] = field(default_factory=list)

    def stages(self) -> dict[str, float]:
        """Medians over segments, ms; ``glue`` is what of the call is in no stage."""
        names = dict.fromkeys(name for costs in self.costs for name in costs)
        found = {
            name: statistics.median(costs.get(name, 0.0) for costs in self.costs) for name in names
        }
        both = zip(self.wall_ms, self.costs, strict=True)
        glue = statistics.median(wall - sum(costs.values()) for wall, costs in both)
        return {**found, "glue": glue}

    def beside_encoder(self) -> float:
        """Median over segments of all that is not the model's arithmetic, over the encoder's time.

        The heads are the model's like the encoder and have :meth:`heads_over_encoder`.
        """
        return statistics.median(
            (wall - costs[ENCODER] - costs.get(HEADS, 0.0)) / costs[ENCODER]
            for wall, costs in zip(self.wall_ms, self.costs, strict=True)
            if costs.get(ENCODER)
        )

    def heads_over_encoder(self) -> float:
        """Median over segments of the heads, as a share of the encoder's time."""
        return statistics.median(
            costs.get(HEADS, 0.0) / costs[ENCODER] for costs in self.costs if costs.get(ENCODER)
        )


def run_agents(
    pushes: Mapping[str, Push],
    samples: NDArray[np.float32],
    segment_ms: int,
    *,
    clocks: Clocks = CLOCKS,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> list[AgentTimes]:
    """Push a recording, samples ``[n]`` at 16 kHz, through every agent; ``clocks`` are read."""
    agents = [(AgentTimes(name), push) for name, push in pushes.items()]
    size = segment_ms * SAMPLE_RATE // 1000
    count = -(-len(samples) // size)
    for number in progress(range(count)):
        # A list of numbers is what SimulEval pushes.
        segment: list[float] = samples[number * size : (number + 1) * size].tolist()
        # Each goes first as often as any other.
        first = number % len(agents)
        for agent, push in (*agents[first:], *agents[:first]):
            wall, cpu = clocks.wall(), clocks.cpu()
            costs = push(segment, number == count - 1)
            cpu = clocks.cpu() - cpu
            agent.wall_ms.append(1000 * (clocks.wall() - wall))
            agent.cpu_ms.append(1000 * cpu)
            agent.costs.append(costs)
    return [agent for agent, _ in agents]


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

    Args:
        config: of EchoStream's system.
        backends: to run it on.
        baseline: of the baseline's system; ``None`` to leave it out.
        segment_ms: of a segment.
        seconds: of the recording.
        folder: for a file that the agents need.
        progress: wraps the numbers of the segments.
    """
    words = folder / "words.txt"
    text = " ".join(f"word{number}" for number in range(_WORDS_PER_S * seconds))
    words.write_text(text + "\n", encoding="utf-8")
    wanted = {
        f"EchoStream, {backend}": {"random_weights": str(config), "backend": backend}
        for backend in backends
    }
    for mode in ("cached", "recompute") if baseline is not None else ():
        wanted[f"StreamSpeech, {mode}"] = {"random_weights": str(baseline), "encoder_mode": mode}
    pushes = {name: _pusher(words, text, options) for name, options in wanted.items()}
    warm = varied(np.random.default_rng(1), 2 * segment_ms * SAMPLE_RATE // 1000)
    samples = varied(np.random.default_rng(2), seconds * SAMPLE_RATE)
    run_agents(pushes, warm, segment_ms)
    return run_agents(pushes, samples, segment_ms, progress=progress)


def _pusher(words: Path, reference: str, options: Mapping[str, str]) -> Push:
    from simuleval.data.segments import SpeechSegment

    from echostream.hosts.simuleval.agent import EchoStreamAgent
    from echostream.session import Session

    agent = EchoStreamAgent(SimpleNamespace(forced_target=str(words), **options))

    def push(segment: list[float], is_last: bool) -> Costs:
        if agent.states.target_finished:
            agent.reset()
            # One line of words serves every recording.
            agent.states.session = Session(agent.translator, reference=reference)
        agent.pushpop(SpeechSegment(content=segment, sample_rate=SAMPLE_RATE, finished=is_last))
        assert agent.states.session is not None
        return agent.states.session.last_costs

    return push
