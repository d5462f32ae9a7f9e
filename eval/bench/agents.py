"""Whole agents, segment by segment, side by side.

All agents get a segment before any gets the next, so that they meet the same changes of the
machine's speed.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from echostream.constants import SAMPLE_RATE
from echostream.session.costs import Costs
from eval.bench.rounds import Clocks

ENCODER, HEADS = "encoder", "heads"
"""Stages that are the model's own arithmetic; all others are beside it."""

Push = Callable[[list[float], bool], Costs]
"""Gives an agent a segment, and whether it is the last; what its stages say they took."""


@dataclass
class AgentTimes:
    """What the segments cost an agent, ms."""

    name: str
    push: Push = field(repr=False)
    wall_ms: list[float] = field(default_factory=list)
    """Of the whole call that the host makes."""
    cpu_ms: list[float] = field(default_factory=list)
    costs: list[Costs] = field(default_factory=list)

    @property
    def total_wall_s(self) -> float:
        """Of all segments."""
        return sum(self.wall_ms) / 1000

    @property
    def total_cpu_s(self) -> float:
        """Of all segments."""
        return sum(self.cpu_ms) / 1000

    def stages(self) -> dict[str, float]:
        """Medians over segments, ms; ``glue`` is what of the call is in no stage."""
        names = dict.fromkeys(name for costs in self.costs for name in costs)
        glue = [
            wall - sum(costs.values()) for wall, costs in zip(self.wall_ms, self.costs, strict=True)
        ]
        return {
            **{
                name: statistics.median(costs.get(name, 0.0) for costs in self.costs)
                for name in names
            },
            "glue": statistics.median(glue),
        }

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
    agents: Sequence[AgentTimes],
    samples: NDArray[np.float32],
    segment_ms: int,
    *,
    clocks: Clocks | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> None:
    """Push a recording through every agent.

    Args:
        agents: their times are filled.
        samples: ``[n]`` at 16 kHz.
        segment_ms: of a segment.
        clocks: to be read; the real ones if ``None``.
        progress: wraps the numbers of the segments.
    """
    clocks = Clocks() if clocks is None else clocks
    size = segment_ms * SAMPLE_RATE // 1000
    count = -(-len(samples) // size)
    for number in progress(range(count)):
        # A list of numbers is what SimulEval pushes.
        segment: list[float] = samples[number * size : (number + 1) * size].tolist()
        # Each goes first as often as any other.
        first = number % len(agents)
        for agent in (*agents[first:], *agents[:first]):
            wall, cpu = clocks.wall(), clocks.cpu()
            costs = agent.push(segment, number == count - 1)
            cpu = clocks.cpu() - cpu
            agent.wall_ms.append(1000 * (clocks.wall() - wall))
            agent.cpu_ms.append(1000 * cpu)
            agent.costs.append(costs)
