"""All figures of one SimulEval output folder, and the files that hold them.

SimulEval 1.1.4, the newest release, writes computation-aware values into the plain columns of
``scores.tsv`` when it runs with --computation-aware. ``instances.log`` is right in every version,
so everything is computed again from there and ``scores.tsv`` is replaced, with the columns and the
rounding of SimulEval's main. What stood there before is kept in ``scores.json``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from echostream.errors import DataError
from echostream.scoring.earlier import earlier_scores, notes_on_earlier
from echostream.scoring.instance import LOG_NAME, Instance, read_instances
from echostream.scoring.latency import LATENCY_METRICS, mean_latency
from echostream.scoring.problems import Problem, check_instances
from echostream.scoring.quality import bleu
from echostream.scoring.signature import (
    EVALUATOR,
    inferred_segment,
    latency_signature,
    stated_segment,
)

TABLE_NAME = "scores.tsv"
DETAILS_NAME = "scores.json"
DECIMALS = 3
"""Digits of ``scores.tsv``, as in SimulEval."""


@dataclass(frozen=True)
class Figure:
    """One number and what it takes to compare it."""

    name: str
    """Column name as in SimulEval: ``LAAL``, and ``LAAL_CA`` if computation-aware."""
    value: float | None
    """Unrounded; None if no instance could be scored."""
    unit: str
    """``ms``, or empty."""
    signature: str


@dataclass(frozen=True)
class Scores:
    """Everything that is known about one run."""

    figures: tuple[Figure, ...]
    """BLEU, then each latency metric followed by its computation-aware form."""
    counts: dict[str, int]
    """Instances, words, reference words; instances in the ideal and computation-aware means."""
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    """On the earlier ``scores.tsv``, one line each."""
    earlier: str | None = None
    """Text of the ``scores.tsv`` that was replaced, if it was another."""

    @property
    def values(self) -> dict[str, float | None]:
        """Unrounded values by column name."""
        return {figure.name: figure.value for figure in self.figures}

    def table(self) -> str:
        """Content of ``scores.tsv``: one header line, one row; ``nan`` where there is no value."""
        cells = (
            "nan" if figure.value is None else repr(round(figure.value, DECIMALS))
            for figure in self.figures
        )
        return "\t".join(self.values) + "\n" + "\t".join(cells) + "\n"

    def details(self) -> dict[str, Any]:
        """Content of ``scores.json``."""
        return {
            "evaluator": EVALUATOR,
            "scores": self.values,
            "signatures": {figure.name: figure.signature for figure in self.figures},
            "counts": self.counts,
            "problems": [asdict(problem) for problem in self.problems],
            "notes": list(self.notes),
            "earlier_scores_tsv": self.earlier,
        }


def score_instances(instances: Sequence[Instance], segment_size: float | None = None) -> Scores:
    """BLEU, and LAAL, AL, AP, DAL, ATD with their computation-aware forms.

    segment_size: source segment size of the run in ms, for the signatures. A log does not hold it;
        without it the signatures state the upper bound that the delays imply.

    Raises DataError for no instances or a segment size that is not more than 0.
    """
    segment = inferred_segment(instances) if segment_size is None else stated_segment(segment_size)
    quality = bleu([ins.prediction for ins in instances], [ins.reference for ins in instances])
    figures = [Figure("BLEU", quality.value, "", quality.signature)]
    counts = {
        "instances": len(instances),
        "words": sum(len(ins.delays) for ins in instances),
        "reference_words": sum(ins.reference_length for ins in instances),
    }
    for metric in LATENCY_METRICS:
        for computation_aware in (False, True):
            mean = mean_latency(instances, metric, computation_aware)
            suffix = "_CA" if computation_aware else ""
            signature = latency_signature(
                metric.name, metric.fields, computation_aware=computation_aware, segment=segment
            )
            figures.append(Figure(metric.name + suffix, mean.value, metric.unit, signature))
            # The same instances for every metric.
            counts["latency_instances" + suffix.lower()] = mean.scored
    return Scores(tuple(figures), counts, tuple(check_instances(instances)))


def score_folder(folder: str | os.PathLike[str], segment_size: float | None = None) -> Scores:
    """Score ``instances.log`` of a folder and write ``scores.json`` and ``scores.tsv`` there.

    Doing it again changes neither file. segment_size: as :func:`score_instances`.

    Raises DataError for what :func:`read_instances` and :func:`score_instances` refuse, and if a
    file cannot be written; nothing is written before everything is computed.
    """
    path = Path(folder)
    scores = score_instances(read_instances(path / LOG_NAME), segment_size)
    earlier = earlier_scores(path / TABLE_NAME, path / DETAILS_NAME, scores.table())
    if earlier is not None:
        notes = notes_on_earlier(earlier, scores.values)
        scores = replace(scores, earlier=earlier, notes=tuple(notes))
    # The details go first: they hold what the table is about to lose.
    _write(path / DETAILS_NAME, json.dumps(scores.details(), indent=2, ensure_ascii=False) + "\n")
    _write(path / TABLE_NAME, scores.table())
    return scores


def format_scores(scores: Scores, title: str) -> str:
    """A table for the terminal: each figure with unit and signature, then notes and problems."""
    counts = scores.counts
    lines = [
        f"{title}: {counts['instances']} instances, {counts['latency_instances']} with latency, "
        f"{counts['latency_instances_ca']} with computation-aware latency"
    ]
    for figure in scores.figures:
        value = "-" if figure.value is None else f"{figure.value:.{DECIMALS}f}"
        lines.append(f"  {figure.name:<8}{value:>12} {figure.unit:<3} {figure.signature}")
    lines += [f"  note: {note}" for note in scores.notes]
    lines += [f"  problem: {problem}" for problem in scores.problems]
    return "\n".join(lines)


def _write(path: Path, text: str) -> None:
    """Replace a file as a whole, so that nobody reads half of it."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, encoding="utf-8", newline="\n")
        part.replace(path)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written: {error.strerror}; expected a folder that can be written to"
        ) from error
