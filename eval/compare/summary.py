"""The comparison in a few sentences that are made from its numbers alone."""

from __future__ import annotations

from collections.abc import Iterable

from eval.compare import metrics
from eval.compare.schema import Point, Results, System
from eval.compare.tables import edge_costs, milliseconds


def summary(results: Results) -> str:
    """What was run and what it can say."""
    data = results.data
    policies = list(dict.fromkeys(point.policy_label for point in results.points))
    sizes = sorted({point.segment_ms for point in results.points})
    text = (
        f"{_count(len(results.systems), 'system')} translated "
        f"{_count(data.recordings, 'recording')} ({data.seconds:.0f} s) of {data.name}"
    )
    if results.points:
        text += (
            f" with the {'policy' if len(policies) == 1 else 'policies'} {listed(policies)} "
            f"in segments of {listed(f'{size:g}' for size in sizes)} ms"
        )
    return f"{text}. {quality_note(results)}"


def findings(results: Results) -> list[str]:
    """One sentence for each system: its best quality if that counts, and what a segment costs."""
    found = []
    for system in results.systems:
        parts = [*_best_quality(results, system), *_computing(results, system)]
        if parts:
            found.append(f"{system.label}: {'; '.join(parts)}.".replace(" ms", "\u00a0ms"))
    return found


def quality_note(results: Results) -> str:
    """Whose quality is compared and whose is not, and why."""
    trained = [system.label for system in results.systems if system.trained]
    untrained = [system.label for system in results.systems if not system.trained]
    forced = any(point.forced and results.system(point.system).trained for point in results.points)
    if not trained:
        return (
            "No system here has trained weights, so quality is not compared; "
            "times and memory do not depend on training."
        )
    note = (
        "Quality is compared only for trained systems that choose their own words, here "
        f"{listed(trained)}"
    )
    note += ": its policies and segment sizes with each other." if len(trained) == 1 else "."
    if untrained:
        verb, subject = ("is", "it writes") if len(untrained) == 1 else ("are", "they write")
        note += (
            f" Not trained {verb} {listed(untrained)}: {subject} the reference when the policy "
            "says so, for time and memory, which do not depend on training."
        )
    if forced:
        note += " Runs of trained systems that write the reference are left out as well."
    return note


def _best_quality(results: Results, system: System) -> list[str]:
    compared = [point for point in results.points if results.comparable(point)]
    metric = next((name for name in metrics.names_in(compared) if name in metrics.QUALITY), None)
    own = [point for point in compared if point.system == system.name]
    scored = [point for point in own if metric and _value(point, metric) is not None]
    if metric is None or not scored:
        return []
    sign = -1 if metric == "WER" else 1
    best = max(scored, key=lambda point: sign * (_value(point, metric) or 0.0))
    return [f"best {metric} {_described(best, metric)}"]


def _described(point: Point, metric: str) -> str:
    text = metrics.with_interval(point.figures[metric], metric)
    laal = point.figures.get("LAAL")
    if laal is not None and laal.value is not None:
        text += f" at LAAL {metrics.number(laal.value, 'LAAL', laal.unit)} {laal.unit}"
    return f"{text} ({point.policy_label}, {point.segment_ms:g} ms)"


def _value(point: Point, metric: str) -> float | None:
    return point.figures[metric].value if metric in point.figures else None


def _computing(results: Results, system: System) -> list[str]:
    parts = []
    for run in results.longest_runs():
        first, last = edge_costs(run)
        if run.system != system.name:
            continue
        text = (
            f"a segment of {run.segment_ms:g} ms takes {milliseconds(first)} ms to compute at the "
            f"beginning of {run.seconds:g} s and {milliseconds(last)} ms at the end"
        )
        if last > run.segment_ms:
            text += ", slower than the speaker"
        parts.append(text)
    return parts


def listed(words: Iterable[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *rest, last = words
    return f"{', '.join(rest)} and {last}" if rest else last


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
