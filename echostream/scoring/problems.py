"""What a log holds that can be scored, but that its reader should know: counted, never silent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from echostream.scoring.instance import Instance

SHOWN_INDICES = 10
"""A problem names at most this many indices."""

_TOLERANCE_MS = 0.001
"""Logs of other tools round their times; a difference this small is no finding."""


@dataclass(frozen=True)
class Problem:
    """One kind of problem in one log."""

    kind: str
    """Short name, stable, for programs."""
    count: int
    """Instances that have it (for ``index-gap``: instances that are not there), at least 1."""
    indices: tuple[int, ...]
    """The first of them, at most ``SHOWN_INDICES``, in rising order."""
    meaning: str
    """What it is and what it does to the figures."""

    def __str__(self) -> str:
        shown = ", ".join(map(str, self.indices)) + (", ..." if self.count > SHOWN_INDICES else "")
        return f"{self.kind} x {self.count}: {self.meaning} (index {shown})"


def check_instances(instances: Sequence[Instance]) -> list[Problem]:
    """Count the problems of a log, one :class:`Problem` for each kind that occurs.

    Kinds: ``empty-prediction``, ``empty-source``, ``missing-elapsed``, ``blank-reference``,
    ``reference-spacing``, ``delay-after-end``, ``elapsed-below-delay``, ``decreasing-elapsed``,
    ``index-gap``.
    """
    problems = []
    for kind, (meaning, has_problem) in _KINDS.items():
        indices = sorted(instance.index for instance in instances if has_problem(instance))
        if indices:
            problems.append(Problem(kind, len(indices), tuple(indices[:SHOWN_INDICES]), meaning))
    return problems + _index_gaps(instances)


def _index_gaps(instances: Sequence[Instance]) -> list[Problem]:
    # Counted between the first and the last index: --start-index and --end-index are legitimate.
    count = 0
    shown: list[int] = []
    for before, after in pairwise(sorted(instance.index for instance in instances)):
        missing = range(before + 1, after)
        count += len(missing)
        shown += missing[: SHOWN_INDICES - len(shown)]
    if not count:
        return []
    meaning = "missing between the first and the last index, so the corpus is not complete"
    return [Problem("index-gap", count, tuple(shown), meaning)]


def _missing_elapsed(instance: Instance) -> bool:
    return bool(instance.delays) and not instance.elapsed


def _blank_reference(instance: Instance) -> bool:
    return not instance.reference.strip()


def _reference_spacing(instance: Instance) -> bool:
    words = len(instance.reference.split())
    return words > 0 and words != instance.reference_length


def _delay_after_end(instance: Instance) -> bool:
    return bool(instance.delays) and instance.delays[-1] > instance.source_length + _TOLERANCE_MS


def _elapsed_below_delay(instance: Instance) -> bool:
    return any(
        elapsed < delay - _TOLERANCE_MS
        for elapsed, delay in zip(instance.elapsed, instance.delays, strict=False)
    )


def _decreasing_elapsed(instance: Instance) -> bool:
    return any(later < earlier - _TOLERANCE_MS for earlier, later in pairwise(instance.elapsed))


_KINDS: dict[str, tuple[str, Callable[[Instance], bool]]] = {
    "empty-prediction": (
        "no word was written; not in the latency means, an empty hypothesis in BLEU",
        lambda instance: not instance.delays,
    ),
    "empty-source": (
        "source of 0 ms; not in the latency means",
        lambda instance: instance.source_length == 0,
    ),
    "missing-elapsed": (
        "no elapsed times; not in the computation-aware means",
        _missing_elapsed,
    ),
    "blank-reference": (
        "nothing in the reference; counts as a length of 1, as in SimulEval",
        _blank_reference,
    ),
    "reference-spacing": (
        "reference has other white space than single spaces between words, so SimulEval's word "
        "count, which is used, is not the number of words",
        _reference_spacing,
    ),
    "delay-after-end": (
        "a delay is larger than the source length, so more audio was counted than there was",
        _delay_after_end,
    ),
    "elapsed-below-delay": (
        "elapsed time below the delay, so a word was there before its audio; the "
        "computation-aware figures are too low",
        _elapsed_below_delay,
    ),
    "decreasing-elapsed": (
        "elapsed time goes back, so the clock was set during the run",
        _decreasing_elapsed,
    ),
}
