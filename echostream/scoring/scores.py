"""All figures of one run, each with its signature: ``LAAL|unit:word|len:max(ref,hyp)|ca:no|...``.

Fields, always in this order: the metric; ``unit`` that is timed; the metric's own (``len``: the
length it divides by; ``token``: the length of a source token; ``from``: what compute time is known
from; ``avg``: what a corpus mean is weighted by, if it is not plain); ``ca``: the reading, see
:mod:`echostream.scoring.readings`; ``seg``: source segment size; ``eval``: program and version that
computed the figure.

``ca`` is ``no``, ``yes`` (SimulEval's elapsed times), ``real-time(segments)`` (exact) or
``real-time(elapsed)`` (an upper bound). It is left out where it means nothing.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from echostream import __version__
from echostream.errors import DataError
from echostream.scoring.instance import Instance
from echostream.scoring.latency import (
    ALL_METRICS,
    LATENCY_METRICS,
    START_OFFSET,
    instance_latency,
    mean_latency,
)
from echostream.scoring.problems import (
    Problem,
    check_instances,
    check_speech,
    has_lost_spaces,
)
from echostream.scoring.quality import QualityOptions, score_quality
from echostream.scoring.readings import Reading, compute_origin
from echostream.scoring.speech import SPEECH_METRICS, SpeechInstance, speech_latency

EVALUATOR = f"echostream-{__version__}"

UNKNOWN = "unknown"


def latency_signature(
    metric: str,
    fields: Iterable[tuple[str, str]],
    *,
    reading: Reading | None,
    segment: str,
    unit: str = "word",
    origin: str = "elapsed",
) -> str:
    """The signature of one figure.

    fields: the metric's own. reading: None where there is but one. segment: from below. origin:
    what real-time figures come from, see :func:`echostream.scoring.readings.compute_origin`.
    """
    aware = {
        None: [],
        Reading.IDEAL: [("ca", "no")],
        Reading.COMPUTATION_AWARE: [("ca", "yes")],
        Reading.REAL_TIME: [("ca", f"real-time({origin})")],
    }
    pairs = [("unit", unit), *fields, *aware[reading], ("seg", segment), ("eval", EVALUATOR)]
    return "|".join([metric, *(f"{key}:{value}" for key, value in pairs)])


def stated_segment(milliseconds: float) -> str:
    """``320ms``: the value of ``seg`` when the source segment size is known."""
    if not 0 < milliseconds < math.inf:  # false for NaN
        raise DataError(
            f"segment size is {milliseconds} ms; expected more than 0, as --source-segment-size was"
        )
    return f"{milliseconds:g}ms"


def inferred_segment(delays: Iterable[tuple[Iterable[float], float]]) -> str:
    """``<=320ms``: what a log, which does not hold the segment size, tells about it.

    delays: with the source length of each instance. Each delay before the end of its source is a
    whole number of segments, so the segment size divides them all and is at most their greatest
    common divisor. It is less where the policy never writes after some segments. ``unknown`` if all
    was written at the end or at fractions of 1 ms.
    """
    early = [delay for times, length in delays for delay in times if delay < length]
    if not all(float(delay).is_integer() for delay in early):
        return UNKNOWN
    divisor = math.gcd(*map(int, early))
    return f"<={divisor}ms" if divisor else UNKNOWN


DECIMALS = 3
"""Digits of ``scores.tsv``, as in SimulEval."""

_DEFAULT_COLUMNS = [metric.name for metric in LATENCY_METRICS]
_TEXT_TABLE = {"BLEU", "WER", *_DEFAULT_COLUMNS, *(f"{name}_CA" for name in _DEFAULT_COLUMNS)}
_SPEECH_TABLE = {metric.name for metric in SPEECH_METRICS}


@dataclass(frozen=True)
class Figure:
    """One number and what it takes to compare it."""

    name: str
    """As in SimulEval where it has it: ``LAAL``; ``LAAL_CA`` and ``LAAL_RT`` by reading."""
    value: float | None
    """Unrounded; None if no instance could be scored."""
    unit: str
    """``ms``, or empty."""
    signature: str
    scored: int | None = None
    """Instances with a value; None for figures of the whole corpus."""
    low: float | None = None
    """Lower end of a confidence interval, if one was computed."""
    high: float | None = None


@dataclass(frozen=True)
class Scores:
    """Everything that is known about one run."""

    figures: tuple[Figure, ...]
    """Quality, then each latency metric in its readings."""
    counts: dict[str, int]
    """Instances, words, reference words; instances in the means of each reading."""
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    """On the ``scores.tsv`` that was there before, one line each."""
    earlier: str | None = None
    """Text of the ``scores.tsv`` that the tool left."""
    written_table: str | None = field(default=None, repr=False)
    """Text of the ``scores.tsv`` that was written in its place, None if it was left alone."""
    instances: tuple[Instance, ...] = field(default=(), repr=False)
    """Of a run with text output that was scored as it is, for tests between runs."""

    @property
    def values(self) -> dict[str, float | None]:
        """Unrounded values by name."""
        return {figure.name: figure.value for figure in self.figures}

    @property
    def has_errors(self) -> bool:
        """Whether the log is damaged or contradicts itself, so that figures are not the run's."""
        return any(problem.is_error for problem in self.problems)

    def table(self) -> str:
        """Content of ``scores.tsv``: one header line, one row; ``nan`` where there is no value.

        For text output the columns that SimulEval's main writes by default with
        --computation-aware.
        """
        columns = _SPEECH_TABLE if "writes" in self.counts else _TEXT_TABLE
        chosen = [figure for figure in self.figures if figure.name in columns]
        values = [f.value for f in chosen]
        cells = ["nan" if value is None else repr(round(value, DECIMALS)) for value in values]
        return "".join("\t".join(row) + "\n" for row in ([f.name for f in chosen], cells))

    def details(self) -> dict[str, Any]:
        """Content of ``scores.json``."""
        return {
            "evaluator": EVALUATOR,
            "scores": self.values,
            "signatures": {figure.name: figure.signature for figure in self.figures},
            "scored": {f.name: f.scored for f in self.figures if f.scored is not None},
            "intervals": {
                figure.name: [figure.low, figure.high]
                for figure in self.figures
                if figure.low is not None
            },
            "counts": self.counts,
            "problems": [asdict(problem) for problem in self.problems],
            "notes": list(self.notes),
            "earlier_scores_tsv": self.earlier,
            "scores_tsv": self.written_table,
        }


def score_instances(
    instances: Sequence[Instance],
    segment_size: float | None = None,
    quality: QualityOptions | None = None,
    *,
    has_references: bool = True,
) -> Scores:
    """Quality, and each latency metric in its readings, of a run with text output.

    segment_size: source segment size of the run in ms, for the signatures. A log does not hold it;
        without it the signatures state the upper bound that the delays imply.
    has_references: False leaves out quality and what depends on the length of a reference.

    Raises DataError for no instances or a segment size that is not more than 0.
    """
    if not instances:
        raise DataError("scores of no instances; expected at least one")
    segment = _segment(instances, segment_size)
    figures: list[Figure] = []
    if has_references:
        figures = _quality(
            [ins.prediction for ins in instances],
            [ins.reference for ins in instances],
            options_for(instances, quality or QualityOptions()),
        )
    counts = {
        "instances": len(instances),
        "words": sum(len(ins.delays) for ins in instances),
        "reference_words": sum(ins.reference_length for ins in instances),
    }
    origin = compute_origin(instances)
    for metric in ALL_METRICS:
        if not has_references and metric.needs_reference:
            continue
        for reading in metric.readings:
            mean, scored = mean_latency(instances, metric, reading)
            fields = dict(metric.fields)
            if metric.name == "compute_RTF":
                fields |= {"from": origin, "avg": "source"}
            signature = latency_signature(
                metric.name,
                tuple(fields.items()),
                reading=reading if metric.has_readings else None,
                segment=segment,
                unit=instances[0].unit,
                origin=origin,
            )
            name = metric.name + reading.value
            figures.append(Figure(name, mean, metric.unit, signature, scored))
    for reading in Reading:
        # The same instances for every metric but YAAL.
        counts["latency_instances" + reading.value.lower()] = sum(
            instance_latency(ins, START_OFFSET, reading) is not None for ins in instances
        )
    found = check_instances(instances, has_references=has_references)
    return Scores(tuple(figures), counts, tuple(found), instances=tuple(instances))


def score_speech(
    instances: Sequence[SpeechInstance],
    segment_size: float | None = None,
    transcripts: Sequence[str] | None = None,
    quality: QualityOptions | None = None,
) -> Scores:
    """Latency figures of a run with speech output, and quality if there are transcripts of it.

    transcripts: of the speech, one per instance in order. Other arguments and errors as
    :func:`score_instances`.
    """
    if not instances:
        raise DataError("scores of no instances; expected at least one")
    segment = _segment(instances, segment_size)
    figures: list[Figure] = []
    if transcripts is not None:
        references = [ins.reference for ins in instances]
        figures = _quality(transcripts, references, quality or QualityOptions(), prefix="ASR_")
    scored = 0
    for metric in SPEECH_METRICS:
        found = [speech_latency(ins, metric) for ins in instances]
        values = [value for value in found if value is not None]
        scored = len(values)
        signature = latency_signature(
            metric.name,
            metric.fields,
            reading=Reading.IDEAL if metric.has_readings else None,
            segment=segment,
            unit="speech",
        )
        value = sum(values) / scored if scored else None
        figures.append(Figure(metric.name, value, metric.unit, signature, scored))
    counts = {
        "instances": len(instances),
        "writes": sum(len(ins.delays) for ins in instances),
        "latency_instances": scored,
    }
    return Scores(tuple(figures), counts, tuple(check_speech(instances)))


def _segment(
    instances: Sequence[Instance] | Sequence[SpeechInstance], segment_size: float | None
) -> str:
    if segment_size is not None:
        return stated_segment(segment_size)
    return inferred_segment((ins.delays, ins.source_length) for ins in instances)


def options_for(instances: Sequence[Instance], options: QualityOptions) -> QualityOptions:
    """The options; without white space where predictions in characters have lost theirs."""
    return replace(options, is_unspaced=has_lost_spaces(instances))


def by_tool_names(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Values by our names and by SimulEval's where they differ: RTF, and _CA of what is counted."""
    other = {"RTF": "EndRatio", "RTF_CA": "EndRatio_CA", "NumChunks_CA": "NumChunks"}
    return {**values, **{name: values[ours] for name, ours in other.items() if ours in values}}


def _quality(
    hypotheses: Sequence[str], references: Sequence[str], options: QualityOptions, prefix: str = ""
) -> list[Figure]:
    found = score_quality(hypotheses, references, options)
    return [Figure(prefix + q.name, q.value, "", prefix + q.signature) for q in found]
