"""What the tool that wrote a log prints for it, where that is not what the log says.

Three tools, of which each has defects of its own (found by reading them and by running them):

*simuleval-1.1.4*, the release. With --computation-aware its plain columns are computed from the
elapsed times. *simuleval-main* (536de82) puts that right. Both score speech output from the log and
not from the run: ATD as if each write were a word without length, RTF without the speech, AL, LAAL,
AP and DAL with chunks counted as words; Discontinuity* and --computation-aware end in an exception.

*streamspeech*, StreamSpeech's fork of SimulEval 1.1.0. Text: every SentencePiece piece counts as a
word, the reference in words. Speech: scored from the run, so that ATD, RTF and Discontinuity* are
right; AL, LAAL, AP and DAL as above; what it computed from elapsed times is not in the log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import mean
from typing import Any

from echostream.errors import DataError
from echostream.scoring.formulas import (
    average_lagging,
    average_proportion,
    average_token_delay,
    differentiable_average_lagging,
    length_adaptive_average_lagging,
)
from echostream.scoring.instance import Instance
from echostream.scoring.quality import bleu
from echostream.scoring.speech import SPEECH_METRICS, SpeechInstance

SIMULEVAL_RELEASE = "simuleval-1.1.4"
SIMULEVAL_MAIN = "simuleval-main"
STREAMSPEECH = "streamspeech"
WRITERS = (SIMULEVAL_RELEASE, SIMULEVAL_MAIN, STREAMSPEECH)

AWARE = "_CA"

_Times = Sequence[float]
_FROM_TIMES: dict[str, Callable[[_Times, float, int], float]] = {
    "LAAL": length_adaptive_average_lagging,
    "AL": average_lagging,
    "AP": average_proportion,
    "DAL": lambda times, source, _: differentiable_average_lagging(times, source),
    "StartOffset": lambda times, source, _: times[0],
    "EndOffset": lambda times, source, _: times[-1] - source,
    "NumChunks": lambda times, source, _: len(times),
    "RTF": lambda times, source, _: times[-1] / source,
}

TEXT_COLUMNS = ("LAAL", "AL", "AP", "DAL", "ATD")
"""What SimulEval prints unless told otherwise."""

SPEECH_COLUMNS = ("StartOffset", "EndOffset", "ATD", "NumChunks", "RTF", "AL", "LAAL", "AP", "DAL")
DISCONTINUITY_COLUMNS = ("DiscontinuitySum", "DiscontinuityAve", "DiscontinuityNum")

STATISTICS_ERROR = "StatisticsError"
ASSERTION_ERROR = "AssertionError"

Printed = dict[str, float | str]
"""By column: the value, or the name of the exception in which the tool ends."""


def printed_text(
    records: Sequence[Mapping[str, Any]],
    instances: Sequence[Instance],
    writer: str,
    is_computation_aware: bool,
) -> Printed:
    """Latency columns of a run with text output; those that cannot be told are left out.

    records: as they are in the log; instances: what was made of them, for the reference lengths.
    is_computation_aware: whether the run had --computation-aware, which also makes _CA columns.
    """
    printed: Printed = {}
    for name in (*_FROM_TIMES, "ATD"):
        for suffix in ("", AWARE) if is_computation_aware else ("",):
            takes_elapsed = suffix == AWARE or (
                is_computation_aware and writer == SIMULEVAL_RELEASE
            )
            value = _text_column(name, records, instances, takes_elapsed)
            if value is not None:
                printed[name + suffix] = value
    return printed


def _text_column(
    name: str,
    records: Sequence[Mapping[str, Any]],
    instances: Sequence[Instance],
    takes_elapsed: bool,
) -> float | str | None:
    if name in ("AL", "LAAL", "AP") and any("prediction_spm" in record for record in records):
        return None  # the reference counts in pieces of a model that is not at hand
    values = []
    for record, instance in zip(records, instances, strict=True):
        delays = record.get("delays") or []
        times = (record.get("elapsed") if takes_elapsed else delays) or []
        if not times or not delays:
            continue
        try:
            if name == "ATD":
                values.append(average_token_delay(delays, times if takes_elapsed else None))
            else:
                length = instance.reference_length
                values.append(_FROM_TIMES[name](times, record["source_length"], length))
        except (DataError, TypeError, ValueError, ArithmeticError):
            return None
    return mean(values) if values else STATISTICS_ERROR


def printed_speech(
    instances: Sequence[SpeechInstance], writer: str, is_computation_aware: bool
) -> Printed:
    """Columns of a run with speech output; those that cannot be told are left out.

    The paths of the speech are scored as text by BLEU; StreamSpeech's fork prints 0 there.
    """
    spoken = [ins for ins in instances if ins.delays and ins.source_length > 0]
    if not spoken:
        return dict.fromkeys(SPEECH_COLUMNS, STATISTICS_ERROR)
    printed: Printed = {}
    for name, formula in _FROM_TIMES.items():
        printed[name] = mean(
            formula(ins.delays, ins.source_length, len(ins.reference.split(" "))) for ins in spoken
        )
    own = {metric.name: mean(map(metric.score, spoken)) for metric in SPEECH_METRICS}
    printed["EndOffset"] = own["EndOffset"]
    if writer == STREAMSPEECH:
        printed["BLEU"] = 0.0
        printed["ATD"], printed["RTF"] = own["ATD"], own["EndRatio"]
        printed |= {name: own[name] for name in DISCONTINUITY_COLUMNS}
        if is_computation_aware:
            same = ("EndOffset", "RTF", "NumChunks", *DISCONTINUITY_COLUMNS)
            printed |= {name + AWARE: printed[name] for name in same}
        return printed
    paths, references = [ins.prediction for ins in instances], [ins.reference for ins in instances]
    printed["BLEU"] = bleu(paths, references).value or 0.0
    printed["ATD"] = mean(average_token_delay(ins.delays) for ins in spoken)
    printed |= dict.fromkeys(DISCONTINUITY_COLUMNS, ASSERTION_ERROR)
    if is_computation_aware:
        printed |= {name + AWARE: STATISTICS_ERROR for name in SPEECH_COLUMNS}
    return printed
