"""All settings in turn, round after round; times are in ms.

The speed of a shared machine changes from minute to minute. What is measured in turn meets the same
changes, so it can be compared; what is measured one after the other cannot.
"""

import gc
import random
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

_TURN_MS = 200.0
"""Of timed calls in one turn, about."""
_MOST_CALLS = 4
_SLOW_MS = 2000.0
"""A setting with slower calls is measured in some of the rounds only."""
_SLOW_EVERY = 8


@dataclass(frozen=True)
class Clocks:
    """Seconds since some moment."""

    wall: Callable[[], float] = time.perf_counter
    cpu: Callable[[], float] = time.process_time
    """Of all threads: a compiled encoder may compute in threads of its own."""


CLOCKS = Clocks()


@dataclass(frozen=True)
class Turn:
    """One turn of a setting in one round."""

    wall_ms: tuple[float, ...]
    """Of each timed call, at least one."""
    cpu_ms: tuple[float, ...]
    """The same calls: CPU time of all threads of the process."""
    untimed_ms: float | None = None
    """Wall time of the call before them, which finds the caches as the other settings left them."""


@dataclass
class Setting:
    """Something to be measured."""

    name: str
    """Unlike any other in the run."""
    run: Callable[[], object]
    threads: int = 1
    """What torch is set to for its turns."""
    turns: dict[int, Turn] = field(default_factory=dict)
    """By round."""

    @property
    def wall_ms(self) -> list[float]:
        """Of every timed call."""
        return [time for turn in self.turns.values() for time in turn.wall_ms]

    @property
    def cpu_ms(self) -> list[float]:
        """Of every timed call."""
        return [time for turn in self.turns.values() for time in turn.cpu_ms]

    @property
    def untimed_p50(self) -> float | None:
        """Median of the calls that found other settings' data in the caches."""
        found = [turn.untimed_ms for turn in self.turns.values() if turn.untimed_ms is not None]
        return statistics.median(found) if found else None

    def by_round(self, statistic: Callable[[Sequence[float]], float]) -> dict[int, float]:
        """One wall time for each round."""
        return {number: statistic(turn.wall_ms) for number, turn in self.turns.items()}


def ratio_within_rounds(
    numerator: Mapping[int, float], denominator: Mapping[int, float]
) -> float | None:
    """The median over the rounds that both have of the ratio in that round, if there is any.

    A machine that is slower for a while slows both, and the ratio of that round stays right.
    """
    common = numerator.keys() & denominator.keys()
    ratios = [numerator[number] / denominator[number] for number in common]
    return statistics.median(ratios) if ratios else None


def measure(
    settings: Sequence[Setting],
    rounds: int,
    *,
    clocks: Clocks = CLOCKS,
    set_threads: Callable[[int], None] = lambda _: None,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> None:
    """Measure every setting in every round, in an order drawn anew for each round.

    Args:
        settings: their ``turns`` are filled. Each first runs twice or three times: what is made
            once is made in the first call, and the others say how long a call takes.
        rounds: at least 1.
        clocks: to be read.
        set_threads: called before a setting's turn with its ``threads``.
        progress: wraps the numbers of the rounds.
    """
    order = []
    for setting in settings:
        set_threads(setting.threads)
        setting.run()
        wall, _ = _timed(setting, clocks)
        if wall > _SLOW_MS:
            # Something else may have been in the way.
            wall = min(wall, _timed(setting, clocks)[0])
        order.append((setting, wall))
    chance = random.Random(0)
    # What preparing left behind is not for the rounds to clear up.
    gc.collect()
    for number in progress(range(rounds)):
        chance.shuffle(order)
        for setting, call_ms in order:
            if call_ms <= _SLOW_MS or number % _SLOW_EVERY == 0:
                set_threads(setting.threads)
                setting.turns[number] = _turn(setting, call_ms, clocks)


def _turn(setting: Setting, call_ms: float, clocks: Clocks) -> Turn:
    """Short calls several times, after one that is not timed.

    In a stream chunk follows chunk, and a small model stays in the processor's caches; here other
    settings have been using them in between. For long calls that makes no difference.
    """
    timed = max(1, min(_MOST_CALLS, int(_TURN_MS / max(call_ms, 1e-3))))
    untimed = _timed(setting, clocks)[0] if timed > 1 else None
    wall, cpu = zip(*(_timed(setting, clocks) for _ in range(timed)), strict=True)
    return Turn(wall, cpu, untimed)


def _timed(setting: Setting, clocks: Clocks) -> tuple[float, float]:
    """Wall and CPU time of one call."""
    wall, cpu = clocks.wall(), clocks.cpu()
    setting.run()
    # CPU first, so that it never seems to be more than the wall time of one thread.
    cpu = clocks.cpu() - cpu
    return 1000 * (clocks.wall() - wall), 1000 * cpu
