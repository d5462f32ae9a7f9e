"""Latency figures of text output: each metric for each reading, per utterance and per corpus.

The formulas are in :mod:`echostream.scoring.formulas`, the readings in
:mod:`echostream.scoring.readings`. The figure of a corpus is the plain mean over the utterances
that have a value, as in SimulEval; the others are skipped and counted. Compute RTF is the one
exception: total compute time by total audio, that is a mean weighted by source length.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from echostream.scoring.formulas import (
    SOURCE_TOKEN_MS,
    average_lagging,
    average_proportion,
    average_token_delay,
    differentiable_average_lagging,
    length_adaptive_average_lagging,
    word_delay,
    yet_another_average_lagging,
)
from echostream.scoring.instance import Instance
from echostream.scoring.readings import Reading, times, total_compute

Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class LatencyMetric:
    """A metric by its name in the field, with what its signature must say."""

    name: str
    unit: str
    """Of the figure: ``ms``, or empty for ratios and counts."""
    fields: Fields
    """Signature fields that are the metric's own: which length it divides by."""
    score: Callable[[Instance, Reading], float | None]
    """Of an instance with a source and, if the metric has readings, with times in that reading."""
    has_readings: bool = True
    """False for what does not depend on when words were there; it is scored as ideal."""
    by_source_length: bool = False
    """Whether the corpus mean is weighted by source length."""

    @property
    def needs_reference(self) -> bool:
        """Whether the length of the reference is in the formula."""
        return "ref" in dict(self.fields).get("len", "")

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The readings in which there is a figure."""
        return tuple(Reading) if self.has_readings else (Reading.IDEAL,)


def instance_latency(
    instance: Instance, metric: LatencyMetric, reading: Reading = Reading.IDEAL
) -> float | None:
    """One utterance's value; None where it is not defined.

    Not defined: no words, no source, no elapsed times or segments in the readings that need them;
    YAAL also where no word came before the end of the source.
    """
    if not instance.source_length > 0:
        return None
    if metric.has_readings and not times(instance, reading):
        return None
    return metric.score(instance, reading)


def per_instance(
    instances: Iterable[Instance], metric: LatencyMetric, reading: Reading = Reading.IDEAL
) -> list[float | None]:
    """:func:`instance_latency` of each, in order."""
    return [instance_latency(instance, metric, reading) for instance in instances]


def mean_latency(
    instances: Sequence[Instance], metric: LatencyMetric, reading: Reading = Reading.IDEAL
) -> tuple[float | None, int]:
    """Mean over the instances that have a value, None if there is none, and how many have.

    Each has the same weight unless the metric says otherwise.
    """
    found = [
        (value, instance.source_length if metric.by_source_length else 1.0)
        for instance, value in zip(instances, per_instance(instances, metric, reading), strict=True)
        if value is not None
    ]
    total = math.fsum(weight for _, weight in found)
    mean = math.fsum(value * weight for value, weight in found) / total if found else None
    return mean, len(found)


def _of_reference(
    formula: Callable[[Sequence[float], float, int], float | None],
) -> Callable[[Instance, Reading], float | None]:
    return lambda ins, reading: formula(
        times(ins, reading), ins.source_length, ins.reference_length
    )


def _token_delay(instance: Instance, reading: Reading) -> float:
    if reading is Reading.COMPUTATION_AWARE:
        return average_token_delay(instance.delays, instance.elapsed)
    return word_delay(instance.delays, times(instance, reading))


def _compute_rtf(instance: Instance, reading: Reading) -> float | None:
    compute = total_compute(instance)
    return None if compute is None else compute / instance.source_length


def _writes(instance: Instance, reading: Reading) -> float | None:
    if instance.segments:
        return sum(segment.words > 0 for segment in instance.segments) or None
    # Two writes at the end of the source have the same delay; elapsed times tell them apart.
    moments = zip(instance.delays, instance.elapsed or instance.delays, strict=True)
    return len(set(moments)) or None


LATENCY_METRICS: tuple[LatencyMetric, ...] = (
    LatencyMetric(
        "LAAL", "ms", (("len", "max(ref,hyp)"),), _of_reference(length_adaptive_average_lagging)
    ),
    LatencyMetric("AL", "ms", (("len", "ref"),), _of_reference(average_lagging)),
    LatencyMetric("AP", "", (("len", "ref"),), _of_reference(average_proportion)),
    LatencyMetric(
        "DAL",
        "ms",
        (("len", "hyp"),),
        lambda ins, reading: differentiable_average_lagging(times(ins, reading), ins.source_length),
    ),
    LatencyMetric("ATD", "ms", (("token", f"{SOURCE_TOKEN_MS}ms"),), _token_delay),
)
"""What SimulEval prints unless told otherwise, in its order."""

START_OFFSET = LatencyMetric("StartOffset", "ms", (), lambda ins, reading: times(ins, reading)[0])

FURTHER_METRICS: tuple[LatencyMetric, ...] = (
    LatencyMetric(
        "YAAL", "ms", (("len", "max(ref,hyp)"),), _of_reference(yet_another_average_lagging)
    ),
    START_OFFSET,
    LatencyMetric(
        "EndOffset", "ms", (), lambda ins, reading: times(ins, reading)[-1] - ins.source_length
    ),
    LatencyMetric(
        "EndRatio", "", (), lambda ins, reading: times(ins, reading)[-1] / ins.source_length
    ),
    LatencyMetric("NumChunks", "", (), lambda ins, _: len(ins.delays) or None, has_readings=False),
    LatencyMetric("NumWrites", "", (), _writes, has_readings=False),
    LatencyMetric("compute_RTF", "", (), _compute_rtf, has_readings=False, by_source_length=True),
)
"""What else is printed here. SimulEval calls EndRatio "RTF"; compute RTF is another thing."""

ALL_METRICS = LATENCY_METRICS + FURTHER_METRICS
