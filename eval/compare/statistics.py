"""Figures of runs with intervals, and tests between systems on the same recordings."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

from echostream.scoring.instance import Instance
from echostream.scoring.intervals import samples_of
from echostream.scoring.readings import Reading
from echostream.scoring.scores import Figure, score_instances
from echostream.scoring.significance import approximate_randomisation, bootstrap
from eval.compare.grid import Run
from eval.compare.plan import ComparisonPlan, SystemEntry, split_policy

LATENCIES = ("LAAL", "AL", "DAL", "ATD", "YAAL", "StartOffset", "EndOffset")
"""In three readings each, beside compute RTF."""
PLOTTED = ("LAAL", "BLEU")
"""The two that a curve is drawn of."""
TESTED = (
    ("BLEU", "higher"),
    ("chrF", "higher"),
    ("LAAL", "lower"),
    ("LAAL_CA", "lower"),
    ("LAAL_RT", "lower"),
    ("compute_RTF", "lower"),
)
"""What systems are compared in, and which way is better."""
TESTED_UNTRAINED = TESTED[-3:]
"""Without compute an untrained system is its policy's schedule, the same for all."""
_AT_THE_END = 0.5


def figures_of(*, trained: bool) -> list[str]:
    """Names of the figures of a run; quality only of a trained system."""
    names = [name + reading.value for name in LATENCIES for reading in Reading]
    return [*(("BLEU", "chrF") if trained else ()), *names, "compute_RTF"]


def is_degenerate(instances: Sequence[Instance]) -> bool:
    """Whether most words were only written when the source had ended: that is not simultaneous."""
    words = [delay >= instance.source_length for instance in instances for delay in instance.delays]
    return bool(words) and sum(words) > _AT_THE_END * len(words)


def point_of(
    run: Run, instances: Sequence[Instance], plan: ComparisonPlan, log: str
) -> dict[str, Any]:
    """The entry of ``results.json`` for one run; ``log`` is how its log is named there."""
    samples = samples_of(instances, figures_of(trained=run.entry.trained))
    drawn = bootstrap(samples, plan.resamples, plan.seed)
    scores = {figure.name: figure for figure in score_instances(instances, run.segment_ms).figures}
    joint = None
    if all(name in samples for name in PLOTTED):
        distribution = drawn.joint(*PLOTTED)
        joint = {
            "x": PLOTTED[0],
            "y": PLOTTED[1],
            "center": list(distribution.value),
            "covariance": [list(row) for row in distribution.covariance],
        }
    policy, options = split_policy(run.policy)
    return {
        "system": run.entry.name,
        "policy": policy,
        "policy_options": options,
        "policy_label": run.policy,
        "segment_ms": run.segment_ms,
        "chunk_ms": run.segment_ms,
        "forced": not run.entry.trained,
        "log": log,
        "instances": len(instances),
        "degenerate": is_degenerate(instances),
        "figures": {
            name: _figure(scores[name], estimate.low, estimate.high, drawn.signature)
            for name, estimate in drawn.estimates.items()
        },
        "joint": joint,
    }


def _figure(figure: Figure, low: float, high: float, resampling: str) -> dict[str, Any]:
    return {
        "value": figure.value,
        "low": low,
        "high": high,
        "unit": figure.unit,
        "signature": f"{figure.signature}|{resampling}",
    }


def pairs_of(plan: ComparisonPlan, family: dict[str, str]) -> list[tuple[SystemEntry, SystemEntry]]:
    """EchoStream's systems with the baseline's, trained with trained and untrained with untrained.

    ``family`` tells of each system's name whether it is ``echostream`` or ``streamspeech``.
    """
    return [
        (a, b)
        for a, b in product(plan.systems, plan.systems)
        if family[a.name] == "echostream"
        and family[b.name] == "streamspeech"
        and a.trained == b.trained
    ]


def paired_of(
    a: tuple[Run, Sequence[Instance]], b: tuple[Run, Sequence[Instance]], plan: ComparisonPlan
) -> list[dict[str, Any]]:
    """Entries of ``results.json`` for a minus b, on the recordings that both have."""
    common = {ins.index for ins in a[1]} & {ins.index for ins in b[1]}
    if len(common) < 2:
        return []
    trained = a[0].entry.trained
    ours, theirs = (
        samples_of([ins for ins in instances if ins.index in common], figures_of(trained=trained))
        for _, instances in (a, b)
    )
    rows = []
    for metric, better in TESTED if trained else TESTED_UNTRAINED:
        if metric in ours and metric in theirs:
            test = approximate_randomisation(
                theirs[metric], ours[metric], num_resamples=plan.resamples, seed=plan.seed
            )
            rows.append(
                {
                    "a": a[0].entry.name,
                    "b": b[0].entry.name,
                    "policy_label": a[0].policy,
                    "segment_ms": a[0].segment_ms,
                    "metric": metric,
                    "difference": test.difference.value,
                    "low": test.difference.low,
                    "high": test.difference.high,
                    "p": test.p_value,
                    "better": better,
                }
            )
    return rows
