"""The times of one line of a log: one per word, or the reason why not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from echostream.scoring.pieces import Tokenizer, certain_ends, tokenized_ends, word_ends


@dataclass(frozen=True)
class Fault:
    """Why the times of an instance, or its elapsed times only, are not used."""

    kind: str
    """Short name, stable, as in :mod:`echostream.scoring.problems`."""
    message: str
    """What was found and what was expected, without path and line."""


class FaultFoundError(Exception):
    """Times that cannot be used; never leaves this package."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.fault = Fault(kind, message)


def read_delays(
    record: Mapping[str, Any],
    text: str,
    unit: str,
    joined_pieces: bool | None,
    tokenize: Tokenizer | None,
) -> tuple[tuple[float, ...], list[int]]:
    """Delays of the words (or characters) of ``text``, and which of the logged times they are.

    Arguments as :func:`echostream.scoring.instance.parse_instance`. Raises FaultFoundError.
    """
    times = _times(record["delays"], "delays", "bad-times")
    for position, (earlier, later) in enumerate(pairwise(times), 2):
        if later < earlier:
            raise FaultFoundError(
                "decreasing-delays",
                f"delays decrease at word {position}, {later:g} ms after {earlier:g} ms; "
                "expected the audio sent so far, which can only grow; the log is damaged",
            )
    ends = _ends(record, text, unit, times, joined_pieces, tokenize)
    return tuple(times[end] for end in ends), ends


def _ends(
    record: Mapping[str, Any],
    text: str,
    unit: str,
    delays: tuple[float, ...],
    joined_pieces: bool | None,
    tokenize: Tokenizer | None,
) -> list[int]:
    """Which of the logged times are those of the units that are scored."""
    units = len(text) if unit == "char" else len(text.split())
    pieces = record.get("prediction_spm")
    if isinstance(pieces, list):
        ends = word_ends(pieces)
        if len(pieces) == len(delays) and len(ends) == units:
            return ends
        raise FaultFoundError(
            "count-mismatch",
            f"{len(delays)} delays for {len(pieces)} pieces; expected one per piece",
        )
    if units == len(delays):
        return list(range(units))
    if joined_pieces is None:
        joined_pieces = "metric" in record
    if not joined_pieces or units > len(delays):
        raise FaultFoundError(
            "count-mismatch",
            f"{len(delays)} delays for {units} {unit}s; expected one per {unit}; "
            "a log written with --eval-latency-unit char or spm cannot be scored in words: run "
            "again with word",
        )
    if text and not text[0].isspace():
        raise FaultFoundError(
            "joined-words",
            f"{len(delays)} delays for {units} words, and no space before the first: what was "
            "written were words and not pieces, and StreamSpeech's fork of SimulEval joined them "
            "without spaces; run again with SimulEval's own release",
        )
    if tokenize is not None:
        found = tokenized_ends(text, len(delays), tokenize)
        remedy = "the given SentencePiece model does not cut the prediction into as many"
    else:
        found = certain_ends(text, [delays, *_as_many(record.get("elapsed"), len(delays))])
        remedy = "give the model's SentencePiece vocabulary with --spm-model"
    if found is None:
        raise FaultFoundError(
            "unknown-pieces",
            f"{len(delays)} delays, one per piece, for {units} words, and the log does not hold "
            f"the pieces, so when a word was whole is not known; {remedy}",
        )
    return found


def _as_many(values: object, number: int) -> list[list[float]]:
    return [values] if isinstance(values, list) and len(values) == number else []


def read_elapsed(record: Mapping[str, Any], ends: Sequence[int]) -> tuple[float, ...]:
    """Elapsed times at ``ends``; empty if the record has none. Raises FaultFoundError."""
    if record.get("elapsed") is None:
        return ()
    times = _times(record["elapsed"], "elapsed", "bad-elapsed")
    logged = len(record["delays"])
    if times and len(times) != logged:
        raise FaultFoundError(
            "bad-elapsed",
            f"{len(times)} elapsed times for {logged} words; expected one per word, or none",
        )
    return tuple(times[end] for end in ends) if times else ()


def _times(values: object, key: str, kind: str) -> tuple[float, ...]:
    if not isinstance(values, list):
        raise FaultFoundError(kind, f"{key} is {values!r}; expected a list of milliseconds")
    try:
        return tuple(
            milliseconds(value, f"{key} of word {position}")
            for position, value in enumerate(values, 1)
        )
    except ValueError as error:
        raise FaultFoundError(kind, str(error)) from error


def milliseconds(value: object, what: str) -> float:
    """A finite number from 0 up. Raises ValueError, which names ``what``, for anything else."""
    # JSON as Python writes it may hold NaN and Infinity, and a mean over them says nothing.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{what} is {value!r}; expected a number of milliseconds")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not 0 <= number < math.inf:
        raise ValueError(f"{what} is {number}; expected a finite number of ms from 0 up")
    return number
