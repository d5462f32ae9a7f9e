"""Reads the content of a ``results.json`` and checks what a type cannot say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import chain
from typing import Any

from echostream.errors import DataError
from eval.compare.reading import read_as
from eval.compare.schema import READINGS, Delay, Results, TimelineRun

FORMAT = "echostream-compare-2"

SUM_TOLERANCE = 1e-6
"""The parts of a delay may differ from its total by this much of it."""


def read_results(results: Mapping[str, Any]) -> Results:
    """Read and check the content of a ``results.json``.

    Raises DataError for another format, a key that is missing, a value of the wrong type or not
    finite, a system that is not in the list, a word that belongs to no segment, and a delay that is
    not the sum of its parts (relative tolerance ``SUM_TOLERANCE``).
    """
    found = results.get("format") if isinstance(results, Mapping) else None
    if found != FORMAT:
        raise DataError(
            f"the results' format is {found!r}; expected {FORMAT!r}: the results.json of "
            "`python -m eval.compare` of this version"
        )
    checked = read_as(Results, results, "results")
    _check_systems(checked)
    for number, paired in enumerate(checked.paired):
        if paired.better not in ("higher", "lower"):
            raise DataError(
                f"results.paired[{number}].better is {paired.better!r}; expected 'higher' or "
                "'lower'"
            )
    for number, utterance in enumerate(checked.utterances):
        for place, run in enumerate(utterance.runs):
            _check_run(run, f"results.utterances[{number}].runs[{place}]")
    return checked


def _check_systems(results: Results) -> None:
    names = [system.name for system in results.systems]
    if not names:
        raise DataError("results.systems is empty; expected at least one system")
    if len(set(names)) < len(names):
        raise DataError(f"two of the systems {', '.join(names)} have the same name")
    named = chain(
        ((f"points[{i}].system", point.system) for i, point in enumerate(results.points)),
        ((f"paired[{i}].a", paired.a) for i, paired in enumerate(results.paired)),
        ((f"paired[{i}].b", paired.b) for i, paired in enumerate(results.paired)),
        ((f"lengths[{i}].system", length.system) for i, length in enumerate(results.lengths)),
        (
            (f"utterances[{i}].runs[{j}].system", run.system)
            for i, utterance in enumerate(results.utterances)
            for j, run in enumerate(utterance.runs)
        ),
    )
    for where, name in named:
        if name not in names:
            raise DataError(
                f"results.{where} is {name!r}; expected one of results.systems: {', '.join(names)}"
            )


def _check_run(run: TimelineRun, where: str) -> None:
    for number, word in enumerate(run.words):
        if not 0 <= word.segment < len(run.segments):
            raise DataError(
                f"{where}.words[{number}].segment is {word.segment}; expected 0 to "
                f"{len(run.segments) - 1}, as the run has {len(run.segments)} segments"
            )
        for reading in READINGS:
            delay: Delay = getattr(word, reading)
            total = sum(delay.parts)
            if not math.isclose(total, delay.total_ms, rel_tol=SUM_TOLERANCE):
                raise DataError(
                    f"the parts of {where}.words[{number}].{reading} add up to {total} ms; "
                    f"expected its total_ms, {delay.total_ms}"
                )
            if min(delay.parts) < -SUM_TOLERANCE * total:
                raise DataError(
                    f"{where}.words[{number}].{reading} has a part of {min(delay.parts)} ms; "
                    "expected none below 0"
                )
