"""What the stages of a step cost: a mapping from the name of a stage to milliseconds.

Stages are named by whoever measures them, so a new one needs no change anywhere else. Today they
are ``front_end`` (validation, resampling, filter bank, CMVN), ``encoder``, ``heads`` (the CTC
heads), ``decoder`` (search, words made of tokens) and ``policy`` (decisions and what follows).
"""

import time
from collections.abc import Callable, Mapping

Clock = Callable[[], float]
"""Seconds since some moment: ``time.perf_counter`` (wall) or ``time.process_time`` (CPU)."""

DEFAULT_CLOCK: Clock = time.perf_counter

Costs = Mapping[str, float]
"""Compute time in ms by stage; a stage that did nothing may be missing."""


def sum_costs(*parts: Costs) -> dict[str, float]:
    """Stage by stage, in the order in which stages first appear."""
    total: dict[str, float] = {}
    for part in parts:
        for stage, cost in part.items():
            total[stage] = total.get(stage, 0.0) + cost
    return total


def rounded(costs: Costs) -> dict[str, float]:
    """To the microsecond, as logs have it."""
    return {stage: round(cost, 3) for stage, cost in costs.items()}


class Stopwatch:
    """Gives the time since the last look to a stage.

    Args:
        clock: measures.
    """

    def __init__(self, clock: Clock = DEFAULT_CLOCK) -> None:
        self._clock = clock
        self._last = clock()
        self.costs: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """Everything since the last lap was this stage's."""
        now = self._clock()
        self.costs[stage] = self.costs.get(stage, 0.0) + 1000 * (now - self._last)
        self._last = now
