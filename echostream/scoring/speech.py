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
from operator import itemgetter
from statistics import mean
from typing import Any

from echostream.scoring.formulas import SOURCE_TOKEN_MS, token_delay, token_ends
from echostream.scoring.instance import describe_source, record_index
from echostream.scoring.units import Fault, FaultFoundError, milliseconds, milliseconds_of

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
        if len(delays) != len(durations):
            message = f"{len(durations)} durations for {len(delays)} delays; expected as many"
            raise FaultFoundError("count-mismatch", message)
        if any(later < earlier for earlier, later in pairwise(delays)):
            message = "delays decrease; expected the audio sent so far, which can only grow"
            raise FaultFoundError("decreasing-delays", message)
    except FaultFoundError as found:
        return replace(instance, faults=(found.fault,))
    return replace(instance, delays=delays, durations=durations, source_length=length)


def speech_token_delay(instance: SpeechInstance) -> float:
    """ATD of speech: as for text, with the speech of a write cut into tokens of 300 ms and a rest.

    Writes of the same delay are one chunk. A token of chunk c ends at max(d_c, end of the token
    before) plus its length, as SimulEval has it when it scores a run itself and not from a log.
    """
    chunks: list[tuple[float, list[float]]] = []
    said_until = 0.0
    writes = zip(instance.delays, instance.durations, strict=True)
    for delay, chunk in groupby(writes, key=itemgetter(0)):
        ends = token_ends(max(delay, said_until), sum(length for _, length in chunk))
        said_until = ends[-1] if ends else said_until
        chunks.append((delay, ends))
    return token_delay(chunks)


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
