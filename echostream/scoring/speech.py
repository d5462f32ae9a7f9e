"""Runs with speech output: one utterance, its line in the log, and its figures.

Legend: m writes; d_j audio sent when write j was made, l_j duration of its speech, S source length,
[a_j, a_j + l_j] when it is played: a_j = max(d_j, a_{j-1} + l_{j-1}). All in ms.

SimulEval's log has no elapsed times for speech output (the list is always empty), so there are
ideal figures only. It holds chunks of speech and no words, so AL, LAAL, AP and DAL, which SimulEval
computes from the number of chunks and the number of words of the reference, say nothing that can be
compared; they are not computed here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from statistics import mean
from typing import Any

from echostream.scoring.formulas import SOURCE_TOKEN_MS, token_ends
from echostream.scoring.instance import describe_source, record_index
from echostream.scoring.units import Fault, milliseconds, milliseconds_of

_REQUIRED = ("index", "prediction", "delays", "durations", "source", "source_length")


@dataclass(frozen=True)
class SpeechInstance:
    """One utterance. All times are milliseconds."""

    index: int
    prediction: str
    """Path of the speech, as the log has it."""
    reference: str
    delays: tuple[float, ...]
    """Per write: audio sent when it was made. Finite, at least 0, never decreasing."""
    durations: tuple[float, ...]
    """Per write: how long its speech is, as many as ``delays``, each at least 0."""
    source_length: float
    source: str
    faults: tuple[Fault, ...] = ()

    @property
    def intervals(self) -> tuple[tuple[float, float], ...]:
        """Begin and end of each write when played one after the other, none before its delay."""
        played: list[tuple[float, float]] = []
        end = 0.0
        for delay, duration in zip(self.delays, self.durations, strict=True):
            start = max(delay, end)
            end = start + duration
            played.append((start, end))
        return tuple(played)

    @property
    def silences(self) -> tuple[float, ...]:
        """Gaps between one write and the next, where there is any."""
        return tuple(
            after[0] - before[1]
            for before, after in pairwise(self.intervals)
            if after[0] > before[1]
        )


def parse_speech(record: Mapping[str, Any], where: str) -> SpeechInstance:
    """The instance of a record; ``where`` begins the messages.

    Raises DataError for a missing key or a bad index. What is wrong with the times is in
    ``faults``; then there are none.
    """
    index = record_index(record, _REQUIRED, where)
    reference = record.get("reference", "")
    instance = SpeechInstance(
        index=index,
        prediction=str(record["prediction"]),
        reference=reference if isinstance(reference, str) else "",
        delays=(),
        durations=(),
        source_length=0.0,
        source=describe_source(record["source"]),
    )
    try:
        length = milliseconds(record["source_length"], "source_length")
        delays = milliseconds_of(record["delays"], "delays", "write")
        durations = milliseconds_of(record["durations"], "durations", "write")
    except ValueError as error:
        return replace(instance, faults=(Fault("bad-times", str(error)),))
    if len(delays) != len(durations):
        message = f"{len(durations)} durations for {len(delays)} delays; expected as many"
        return replace(instance, faults=(Fault("count-mismatch", message),))
    if any(later < earlier for earlier, later in pairwise(delays)):
        message = "delays decrease; expected the audio sent so far, which can only grow"
        return replace(instance, faults=(Fault("decreasing-delays", message),))
    return replace(instance, delays=delays, durations=durations, source_length=length)


def speech_token_delay(instance: SpeechInstance) -> float:
    """ATD of speech: as for text, with the speech of a write cut into tokens of 300 ms and a rest.

    Writes of the same delay are one chunk. Token t of chunk c stands for source token
    s(t) = t - max(0, Y - X), at most the last one read, with Y target and X source tokens before
    chunk c; it ends at max(d_c, end(t - 1)) plus its length. Kano et al. 2023 (arXiv 2211.13173),
    as SimulEval computes it when it scores a run itself and not from a log.
    """
    source_ends, target_ends = [0.0], [0.0]
    lags: list[float] = []
    chunk_start = 0.0
    writes = zip(instance.delays, instance.durations, strict=True)
    for delay, chunk in groupby(writes, key=lambda write: write[0]):
        surplus = max(0, len(target_ends) - len(source_ends))
        source_ends += token_ends(source_ends[-1], delay - chunk_start)
        chunk_start = delay
        for end in token_ends(max(delay, target_ends[-1]), sum(length for _, length in chunk)):
            token = min(len(target_ends) - surplus, len(source_ends) - 1)
            target_ends.append(end)
            lags.append(end - source_ends[token])
    return float(mean(lags))


@dataclass(frozen=True)
class SpeechMetric:
    """A figure of speech output."""

    name: str
    unit: str
    fields: tuple[tuple[str, str], ...]
    score: Callable[[SpeechInstance], float]
    """Of an instance with writes and a source."""
    has_readings: bool = True
    """False for what does not depend on when speech was there."""


SPEECH_METRICS: tuple[SpeechMetric, ...] = (
    SpeechMetric("StartOffset", "ms", (), lambda ins: ins.intervals[0][0]),
    SpeechMetric("EndOffset", "ms", (), lambda ins: ins.intervals[-1][1] - ins.source_length),
    SpeechMetric("ATD", "ms", (("token", f"{SOURCE_TOKEN_MS}ms"),), speech_token_delay),
    SpeechMetric("EndRatio", "", (), lambda ins: ins.intervals[-1][1] / ins.source_length),
    SpeechMetric("NumWrites", "", (), lambda ins: len(ins.delays), has_readings=False),
    SpeechMetric("DiscontinuitySum", "ms", (), lambda ins: sum(ins.silences)),
    SpeechMetric(
        "DiscontinuityAve", "ms", (), lambda ins: mean(ins.silences) if ins.silences else 0.0
    ),
    SpeechMetric("DiscontinuityNum", "", (), lambda ins: len(ins.silences)),
)


def speech_latency(instance: SpeechInstance, metric: SpeechMetric) -> float | None:
    """One utterance's value; None without speech or without source."""
    if not instance.source_length > 0 or not any(instance.durations):
        return None
    return metric.score(instance)
