"""All settings in turn, round after round.

The speed of a shared machine changes from minute to minute. What is measured in turn meets the same
changes, so it can be compared; what is measured one after the other cannot.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from eval.bench.times import Times, Turn

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


@dataclass
class Setting:
    """Something to be measured."""

    name: str
    """Unlike any other in the run."""
    run: Callable[[], object]
    threads: int = 1
    """What torch is set to for its turns."""
    times: Times = field(default_factory=Times)


@dataclass(frozen=True)
class Pace:
    """How a setting is measured in its turns."""

    timed: int
    untimed: int
    every: int
    """It has a turn in each so many rounds."""


def pace_of(call_ms: float) -> Pace:
    """Short calls several times in a turn, after one that is not timed.

    In a stream chunk follows chunk, and a small model stays in the processor's caches; here other
    settings have been using them in between. For long calls that makes no difference.
    """
    if call_ms > _SLOW_MS:
        return Pace(timed=1, untimed=0, every=_SLOW_EVERY)
    timed = max(1, min(_MOST_CALLS, int(_TURN_MS / max(call_ms, 1e-3))))
    return Pace(timed, untimed=int(timed > 1), every=1)


def measure(
    settings: Sequence[Setting],
    rounds: int,
    *,
    clocks: Clocks | None = None,
    set_threads: Callable[[int], None] = lambda _: None,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
    seed: int = 0,
) -> None:
    """Measure every setting in every round, in an order drawn anew for each round.

    Args:
        settings: their ``times`` are filled. Each first runs twice or three times: what is made
            once is made in the first call, and the others say how long a call takes.
        rounds: at least 1.
        clocks: to be read; the real ones if ``None``.
        set_threads: called before a setting's turn with its ``threads``.
        progress: wraps the numbers of the rounds.
        seed: of the orders.

    Raises:
        ValueError: if two settings have the same name, or for less than one round.
    """
    clocks = Clocks() if clocks is None else clocks
    names = [setting.name for setting in settings]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or rounds < 1:
        raise ValueError(
            f"{rounds} rounds, settings of the same name: {twice}; expected at least one round and "
            "names that tell the settings apart"
        )
    paces = []
    for setting in settings:
        set_threads(setting.threads)
        setting.run()
        wall, _ = _timed(setting, clocks)
        if wall > _SLOW_MS:
            # Something else may have been in the way.
            wall = min(wall, _timed(setting, clocks)[0])
        paces.append(pace_of(wall))
    chance = random.Random(seed)
    order = list(zip(settings, paces, strict=True))
    # What preparing left behind is not for the rounds to clear up.
    gc.collect()
    for number in progress(range(rounds)):
        chance.shuffle(order)
        for setting, pace in order:
            if number % pace.every == 0:
                set_threads(setting.threads)
                setting.times.turns[number] = _turn(setting, pace, clocks)


def _turn(setting: Setting, pace: Pace, clocks: Clocks) -> Turn:
    untimed = None
    for _ in range(pace.untimed):
        untimed, _ = _timed(setting, clocks)
    calls = [_timed(setting, clocks) for _ in range(pace.timed)]
    return Turn(tuple(wall for wall, _ in calls), tuple(cpu for _, cpu in calls), untimed)


def _timed(setting: Setting, clocks: Clocks) -> tuple[float, float]:
    """Wall and CPU time of one call."""
    wall, cpu = clocks.wall(), clocks.cpu()
    setting.run()
    # CPU first, so that it never seems to be more than the wall time of one thread.
    cpu = clocks.cpu() - cpu
    return 1000 * (clocks.wall() - wall), 1000 * cpu
