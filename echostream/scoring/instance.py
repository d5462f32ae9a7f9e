"""One scored utterance, and the reader of SimulEval's ``instances.log``.

SimulEval (1.1.4 and main alike) writes one JSON object per line with the keys index, prediction,
delays, elapsed, prediction_length, reference, source and source_length. For speech source and text
output, in words, there is one delay and one elapsed time per word of the prediction.

A log that cannot be scored without guessing is refused (:class:`DataError` with path and line).
What can be scored but should be known is counted by :mod:`echostream.scoring.problems`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from echostream.errors import DataError

LOG_NAME = "instances.log"
"""Name SimulEval gives the log inside its output folder."""

_REQUIRED = ("index", "prediction", "delays", "reference", "source", "source_length")


@dataclass(frozen=True)
class Instance:
    """One utterance as the evaluator saw it. All times are milliseconds."""

    index: int
    """Position in the source list, unique in a log, at least 0."""
    prediction: str
    """Words of the hypothesis, separated by white space."""
    reference: str
    delays: tuple[float, ...]
    """Per word: audio sent when the word was written. Finite, at least 0, never decreasing."""
    elapsed: tuple[float, ...]
    """Per word: SimulEval's computation-aware time, that is the delay plus *all* compute time since
    the first segment. Empty if the log has none (or zeros only), else as long as ``delays``. A live
    system computes while it waits for audio, but here both add up, so that the distance from the
    delay grows with the utterance even at a compute RTF far below 1."""
    source_length: float
    """Duration of the source, at least 0."""
    source: str
    """What the log says about the source: for audio, the path and then a line for each property."""

    @property
    def source_file(self) -> str:
        """First line of the description, which is the path."""
        return self.source.partition("\n")[0]

    @property
    def reference_length(self) -> int:
        """Words of the reference as SimulEval counts them, at least 1.

        Trap: it splits at single spaces, so a blank reference counts 1 and a double space adds one.
        """
        return len(self.reference.split(" "))

    def times(self, computation_aware: bool) -> tuple[float, ...]:
        """``elapsed`` if computation-aware, else ``delays``."""
        return self.elapsed if computation_aware else self.delays


def read_instances(path: str | os.PathLike[str]) -> list[Instance]:
    """All instances of a log, in the order of its lines; blank lines are passed over.

    Raises DataError, with the path and mostly the line number, for: a file that is missing,
    unreadable or without instances; a line that is cut short, not UTF-8 or not a JSON object; a
    missing key; an index that is no whole number from 0 up, or was there before; times that are
    not numbers, not finite, or negative; decreasing delays; a number of delays or elapsed times
    other than that of the words; a negative source length; logs of text source or speech output.
    """
    name = os.fspath(path)
    instances: list[Instance] = []
    line_of_index: dict[int, int] = {}
    try:
        with Path(name).open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                where = f"{name}, line {number}"
                instance = _instance(_json_object(line, where), where)
                first = line_of_index.setdefault(instance.index, number)
                if first != number:
                    raise DataError(
                        f"{where}: index {instance.index} was on line {first} already; expected "
                        "each index once; remove the line that does not belong to this run"
                    )
                instances.append(instance)
    except OSError as error:
        raise DataError(
            f"{name}: cannot be read: {error.strerror}; expected the {LOG_NAME} of a SimulEval run "
            "with --output"
        ) from error
    if not instances:
        raise DataError(
            f"{name}: holds no instances; expected one line per utterance; run SimulEval to its end"
        )
    return instances


def _json_object(line: bytes, where: str) -> Mapping[str, Any]:
    try:
        record = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        if not line.endswith(b"\n"):
            raise DataError(
                f"{where}: the last line is cut short after {len(line)} bytes; expected a whole "
                "JSON object; the run was interrupted: delete this line and go on with SimulEval's "
                "--continue-unfinished"
            ) from error
        raise DataError(
            f"{where}: is not JSON ({error}); expected one JSON object per line"
        ) from error
    if not isinstance(record, dict):
        raise DataError(
            f"{where}: is a JSON {type(record).__name__}; expected an object as SimulEval writes it"
        )
    return record


def _instance(record: Mapping[str, Any], where: str) -> Instance:
    if "durations" in record or "intervals" in record:
        raise DataError(
            f"{where}: is of a run with speech output (it has durations or intervals), which "
            "cannot be scored in words; expected text output"
        )
    missing = [key for key in _REQUIRED if key not in record]
    if missing:
        raise DataError(
            f"{where}: lacks {', '.join(missing)}; found {', '.join(record) or 'no key'}; expected "
            "a line of SimulEval's instances.log"
        )
    index = record["index"]
    if isinstance(index, bool) or not isinstance(index, int) or index < 0:
        raise DataError(f"{where}: index is {index!r}; expected a whole number from 0 up")
    where = f"{where} (index {index})"
    prediction = _text(record, "prediction", where)
    delays = _times(record["delays"], "delays", where)
    elapsed = () if record.get("elapsed") is None else _times(record["elapsed"], "elapsed", where)
    _check_lengths(len(prediction.split()), len(delays), len(elapsed), where)
    for position, (earlier, later) in enumerate(pairwise(delays), 2):
        if later < earlier:
            raise DataError(
                f"{where}: delays decrease at word {position}, {later:g} ms after {earlier:g} ms; "
                "expected the audio sent so far, which can only grow; the log is damaged"
            )
    source_length = _milliseconds(record["source_length"], "source_length", where)
    if not any(elapsed):
        _reject_text_source(record["source"], source_length, where)
        elapsed = ()  # SimulEval writes zeros where it takes no times
    return Instance(
        index=index,
        prediction=prediction,
        reference=_text(record, "reference", where),
        delays=delays,
        elapsed=elapsed,
        source_length=source_length,
        source=_description(record["source"]),
    )


def _text(record: Mapping[str, Any], key: str, where: str) -> str:
    value = record[key]
    if not isinstance(value, str):
        raise DataError(f"{where}: {key} is {value!r}; expected text")
    return value


def _times(values: object, key: str, where: str) -> tuple[float, ...]:
    if not isinstance(values, list):
        raise DataError(f"{where}: {key} is {values!r}; expected a list of milliseconds")
    return tuple(
        _milliseconds(value, f"{key} of word {position}", where)
        for position, value in enumerate(values, 1)
    )


def _milliseconds(value: object, what: str, where: str) -> float:
    # JSON as Python writes it may hold NaN and Infinity, and a mean over them says nothing.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{where}: {what} is {value!r}; expected a number of milliseconds")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not 0 <= number < math.inf:
        raise DataError(f"{where}: {what} is {number}; expected a finite number of ms from 0 up")
    return number


def _check_lengths(words: int, delays: int, elapsed: int, where: str) -> None:
    if delays != words:
        raise DataError(
            f"{where}: {delays} delays for {words} words; expected one per word; a log written "
            "with --eval-latency-unit char or spm cannot be scored in words: run again with word"
        )
    if elapsed and elapsed != words:
        raise DataError(
            f"{where}: {elapsed} elapsed times for {words} words; expected one per word, or none"
        )


def _reject_text_source(source: object, source_length: float, where: str) -> None:
    """Refuse text-to-text runs, whose delays count words: the ms printed would be none."""
    if isinstance(source, str) and source_length == len(source.split()):
        raise DataError(
            f"{where}: is of a run with text source (length {source_length:g} is the number of its "
            "words); expected speech source, with times in milliseconds"
        )


def _description(source: object) -> str:
    if isinstance(source, list):
        return "\n".join(str(line) for line in source)
    return str(source)
