"""One scored utterance, and how a line of SimulEval's ``instances.log`` becomes one.

SimulEval (1.1.4 and main alike) writes one JSON object per line with the keys index, prediction,
delays, elapsed, prediction_length, reference, source and source_length. For speech source and text
output, in words, there is one delay and one elapsed time per word of the prediction. With pieces
(``prediction_spm``, or StreamSpeech's fork) there is one per piece: see
:mod:`echostream.scoring.pieces`. Speech output: :mod:`echostream.scoring.speech`.

A line whose text can be used and whose times cannot becomes an instance without times and with a
:class:`~echostream.scoring.times.Fault`. :func:`read_instances` refuses those;
:mod:`echostream.scoring.log` counts them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from echostream.errors import DataError
from echostream.scoring.lines import LOG_NAME as LOG_NAME
from echostream.scoring.lines import read_lines
from echostream.scoring.pieces import Tokenizer, join_pieces
from echostream.scoring.segments import Segment
from echostream.scoring.times import (
    Fault,
    FaultFoundError,
    milliseconds,
    read_delays,
    read_elapsed,
)

_REQUIRED = ("index", "prediction", "delays", "reference", "source", "source_length")


@dataclass(frozen=True)
class Instance:
    """One utterance as the evaluator saw it. All times are milliseconds."""

    index: int
    """Position in the source list, unique in a log, at least 0."""
    prediction: str
    """Words of the hypothesis, separated by white space (unit ``char``: characters)."""
    reference: str
    delays: tuple[float, ...]
    """Per word: audio sent when the word was written. Finite, at least 0, never decreasing."""
    elapsed: tuple[float, ...]
    """Per word: SimulEval's computation-aware time, that is the delay plus *all* compute time since
    the first segment. Empty if the log has none (or zeros only), else as long as ``delays``."""
    source_length: float
    """Duration of the source, at least 0."""
    source: str
    """What the log says about the source: for audio, the path and then a line for each property."""
    unit: str = "word"
    """What has a delay: ``word``, or ``char`` for languages without spaces."""
    segments: tuple[Segment, ...] = ()
    """What the run's ``segments.log`` says about this utterance; empty if there is none."""
    faults: tuple[Fault, ...] = ()

    @property
    def source_file(self) -> str:
        """First line of the description, which is the path."""
        return self.source.partition("\n")[0]

    @property
    def reference_length(self) -> int:
        """Words (or characters) of the reference as SimulEval counts them, at least 1.

        Trap: it splits at single spaces, so a blank reference counts 1 and a double space adds one.
        Characters include the spaces between words, though a prediction has none.
        """
        if self.unit == "char":
            return len(self.reference.strip()) or 1
        return len(self.reference.split(" "))


def read_instances(
    path: str | os.PathLike[str], tokenize: Tokenizer | None = None
) -> list[Instance]:
    """All instances of a log with text output, in the order of its lines. The strict reader.

    tokenize: for pieces that a log does not hold, see :func:`echostream.scoring.pieces.
    tokenized_ends`.

    Raises DataError, with the path and mostly the line number, for: a file that is missing,
    unreadable or without instances; a line that is cut short, not UTF-8 or not a JSON object; a
    missing key; an index that is no whole number from 0 up, or was there before; times that are
    not numbers, not finite, or negative; decreasing delays; a number of delays or elapsed times
    other than that of the words; a negative source length; logs of text source or speech output.
    """
    name = os.fspath(path)
    lines = read_lines(name)
    unit = log_unit([line.record for line in lines if line.record is not None])
    instances: list[Instance] = []
    line_of_index: dict[int, int] = {}
    for line in lines:
        instance = parse_instance(line.require(), line.where, unit=unit, tokenize=tokenize)
        for fault in instance.faults:
            raise DataError(f"{line.where} (index {instance.index}): {fault.message}")
        first = line_of_index.setdefault(instance.index, line.number)
        if first != line.number:
            raise DataError(
                f"{line.where}: index {instance.index} was on line {first} already; expected "
                "each index once; remove the line that does not belong to this run"
            )
        instances.append(instance)
    if not instances:
        raise DataError(
            f"{name}: holds no instances; expected one line per utterance; run SimulEval to its end"
        )
    return instances


def log_unit(records: Sequence[Mapping[str, Any]]) -> str:
    """``char`` if every prediction is one run of characters with a delay each, else ``word``.

    A log of words where each prediction is one word of one character is the same in both.
    """
    proven = False
    for record in records:
        prediction, delays = record.get("prediction"), record.get("delays")
        if not isinstance(prediction, str) or not isinstance(delays, list):
            continue
        if len(delays) != len(prediction) or len(prediction.split()) > 1:
            return "word"
        proven = proven or len(delays) > 1
    return "char" if proven else "word"


def parse_instance(
    record: Mapping[str, Any],
    where: str,
    *,
    unit: str = "word",
    joined_pieces: bool | None = None,
    tokenize: Tokenizer | None = None,
) -> Instance:
    """The instance of a record; ``where`` begins the messages.

    joined_pieces: whether delays may be those of pieces that were joined, as by StreamSpeech's fork
        of SimulEval; None: if the record has its key ``metric``.

    Raises DataError for records that are no utterance with text output: a missing key, a bad index,
    no texts, text source, speech output. What is wrong with the times is in ``faults``.
    """
    if is_speech_output(record):
        raise DataError(
            f"{where}: is of a run with speech output (it has durations or intervals), which "
            "cannot be scored in words; expected text output"
        )
    index = record_index(record, _REQUIRED, where)
    where = f"{where} (index {index})"
    prediction = _text(record, "prediction", where)
    instance = Instance(
        index=index,
        prediction=prediction,
        reference=_text(record, "reference", where),
        delays=(),
        elapsed=(),
        source_length=0.0,
        source=describe_source(record["source"]),
        unit=unit,
    )
    if isinstance(record.get("prediction_spm"), list):
        instance = replace(instance, prediction=join_pieces(record["prediction_spm"]))
    try:
        length = milliseconds(record["source_length"], "source_length")
    except ValueError as error:
        return replace(instance, faults=(Fault("bad-source-length", str(error)),))
    instance = replace(instance, source_length=length)
    try:
        delays, ends = read_delays(record, instance.prediction, unit, joined_pieces, tokenize)
    except FaultFoundError as found:
        return replace(instance, faults=(found.fault,))
    instance = replace(instance, delays=delays)
    try:
        elapsed = read_elapsed(record, ends)
    except FaultFoundError as found:
        return replace(instance, faults=(found.fault,))
    if not any(elapsed):
        if isinstance(record["source"], str) and length == len(record["source"].split()):
            # Delays of text-to-text runs count words: the ms printed would be none.
            raise DataError(
                f"{where}: is of a run with text source (length {length:g} is the number of its "
                "words); expected speech source, with times in milliseconds"
            )
        elapsed = ()  # SimulEval writes zeros where it takes no times
    return replace(instance, elapsed=elapsed)


def is_speech_output(record: Mapping[str, Any]) -> bool:
    """Whether a record is of a run with speech output."""
    return "durations" in record or "intervals" in record


def record_index(record: Mapping[str, Any], required: Sequence[str], where: str) -> int:
    """The index. Raises DataError if it is none, or if a required key is missing."""
    missing = [key for key in required if key not in record]
    if missing:
        raise DataError(
            f"{where}: lacks {', '.join(missing)}; found {', '.join(record) or 'no key'}; expected "
            "a line of SimulEval's instances.log"
        )
    index = record["index"]
    if isinstance(index, bool) or not isinstance(index, int) or index < 0:
        raise DataError(f"{where}: index is {index!r}; expected a whole number from 0 up")
    return index


def describe_source(source: object) -> str:
    """The log's description of a source, one property a line."""
    if isinstance(source, list):
        return "\n".join(str(line) for line in source)
    return str(source)


def _text(record: Mapping[str, Any], key: str, where: str) -> str:
    value = record[key]
    if not isinstance(value, str):
        raise DataError(f"{where}: {key} is {value!r}; expected text")
    return value
