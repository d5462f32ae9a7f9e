"""The comparison in a few sentences that are made from its numbers alone."""

from __future__ import annotations

from collections.abc import Iterable

from eval.compare.schema import Results


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


def listed(words: Iterable[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *rest, last = words
    return f"{', '.join(rest)} and {last}" if rest else last


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
