"""Measured times and what is made of them.

All times are in ms.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Turn:
    """One turn of a setting in one round."""

    wall_ms: tuple[float, ...]
    """Of each timed call, at least one."""
    cpu_ms: tuple[float, ...]
    """The same calls: CPU time of all threads of the process."""
    untimed_ms: float | None = None
    """Wall time of the call before them, which finds the caches as the other settings left them;
    ``None`` if there was none."""


@dataclass
class Times:
    """All turns of a setting, by round."""

    turns: dict[int, Turn] = field(default_factory=dict)

    @property
    def wall_ms(self) -> list[float]:
        """Of every timed call."""
        return [time for turn in self.turns.values() for time in turn.wall_ms]

    @property
    def cpu_ms(self) -> list[float]:
        """Of every timed call."""
        return [time for turn in self.turns.values() for time in turn.cpu_ms]

    @property
    def p50(self) -> float:
        """Median wall time."""
        return statistics.median(self.wall_ms)

    @property
    def p95(self) -> float:
        """95th percentile of wall time."""
        return percentile(self.wall_ms, 95)

    @property
    def cpu_p50(self) -> float:
        """Median CPU time."""
        return statistics.median(self.cpu_ms)

    @property
    def untimed_p50(self) -> float | None:
        """Median wall time of the calls that found other settings' data in the caches."""
        found = [turn.untimed_ms for turn in self.turns.values() if turn.untimed_ms is not None]
        return statistics.median(found) if found else None

    def by_round(self, statistic: Callable[[Sequence[float]], float]) -> dict[int, float]:
        """One wall time for each round."""
        return {number: statistic(turn.wall_ms) for number, turn in self.turns.items()}


def percentile(values: Sequence[float], percent: float) -> float:
    """Between the two nearest values in proportion, as numpy's default.

    Raises:
        ValueError: without values, or for a ``percent`` that is not in 0 to 100.
    """
    if not values or not 0 <= percent <= 100:
        raise ValueError(
            f"percentile {percent} of {len(values)} values; expected 0 to 100 of at least one"
        )
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def ratio_within_rounds(
    numerator: Mapping[int, float], denominator: Mapping[int, float]
) -> float | None:
    """The median over the rounds that both have of the ratio in that round.

    A machine that is slower for a while slows both, and the ratio of that round stays right.
    ``None`` if there is no such round.
    """
    ratios = [
        value / denominator[number] for number, value in numerator.items() if number in denominator
    ]
    return statistics.median(ratios) if ratios else None
