"""Results in which every text tries to become markup, script or a table of its own."""

from dataclasses import is_dataclass, replace
from typing import Any

from eval.compare.schema import Results

from .synthetic import synthetic_results

ATTACKS = (
    "</script><script>document.title='owned'</script>",
    "<!--<script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "' onfocus='document.title=\"owned\"",
    "{{ 7 * 7 }} {% raw %}",
    "a | b \\| c ` * [x](javascript:alert(1)) & &amp; $x^2$",
    "line\u2028after\u2029and\nbreak",
    "_starts with an underscore",
)
SCHEMA_WORDS = ("format", "family", "mode", "system", "a", "b", "x", "y", "better", "unit")
"""Texts under these keys have a meaning, so they are left as they are."""


def hostile_results() -> Results:
    """As :func:`synthetic_results`, with an attack at the end of every other text."""
    results = synthetic_results(utterances=2, runs=2)
    count = 0

    def attack(value: Any, key: str) -> Any:
        nonlocal count
        if is_dataclass(value):
            return replace(value, **attack(vars(value), ""))
        if isinstance(value, dict):
            return {name: attack(item, name) for name, item in value.items()}
        if isinstance(value, tuple):
            return tuple(attack(item, key) for item in value)
        if isinstance(value, str) and key not in SCHEMA_WORDS:
            count += 1
            return f"{value} {ATTACKS[count % len(ATTACKS)]}"
        return value

    hurt: Results = attack(results, "")
    labels = ["".join(ATTACKS), *(system.label for system in hurt.systems[1:])]
    named = zip(hurt.systems, results.systems, labels, strict=True)
    figures = [{**p.figures, **dict.fromkeys(ATTACKS, p.figures["LAAL"])} for p in hurt.points]
    return replace(
        hurt,
        systems=tuple(replace(s, name=given.name, label=label) for s, given, label in named),
        machine={attacked: attacked for attacked in ATTACKS},
        points=tuple(replace(p, figures=f) for p, f in zip(hurt.points, figures, strict=True)),
    )
