"""What has a delay in a log (words, characters or pieces), and the times of what is scored.

Legend: n pieces with a time each, W words of the text they make, n >= W.

A word is there when its last piece is: its time is that of its last piece. A log that keeps the
pieces (SimulEval's ``prediction_spm``) tells which that is. StreamSpeech's fork of SimulEval joins
the pieces before it writes them down and keeps the times only; there the ends of the words follow
from the vocabulary that made the pieces.
"""

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any, TypeGuard

from echostream.errors import DataError

Tokenizer = Callable[[str], Sequence[str]]
"""Cuts a text into pieces, of which each that begins a word begins with :data:`WORD_BEGIN`."""

WORD_BEGIN = "\N{LOWER ONE EIGHTH BLOCK}"
"""What SentencePiece writes for a space."""


LONGEST_MS = 1e9
"""Eleven days. A longer time is no place in a recording; ATD goes through it in steps of 300 ms."""


def join_pieces(pieces: Sequence[str]) -> str:
    """The text, words separated by single spaces."""
    return " ".join("".join(pieces).replace(WORD_BEGIN, " ").split())


def word_ends(pieces: Sequence[str]) -> list[int]:
    """Position of the last piece of each word of :func:`join_pieces`, counted from 0.

    Pieces that hold nothing but spaces belong to no word. A piece may hold a space inside, which
    ends one word and begins the next.
    """
    ends: list[int] = []
    in_word = False
    for position, piece in enumerate(pieces):
        for part_number, part in enumerate(piece.replace(WORD_BEGIN, " ").split(" ")):
            if part_number > 0:
                in_word = False
            if part and in_word:
                ends[-1] = position
            elif part:
                ends.append(position)
                in_word = True
    return ends


def tokenized_ends(text: str, pieces: int, tokenize: Tokenizer) -> list[int] | None:
    """Ends of the words of ``text`` if ``tokenize`` cuts it into as many pieces, else None.

    Trap: a model may write a word in other pieces than its vocabulary's tokenizer would. Where the
    numbers agree and the pieces do not, the time of a word can be that of a neighbour.
    """
    tokens = tokenize(text)
    ends = word_ends(tokens)
    if len(tokens) != pieces or len(ends) != len(text.split()):
        return None
    return ends


def load_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """The tokenizer of a SentencePiece model. Raises DataError if it cannot be loaded."""
    import sentencepiece

    try:
        processor = sentencepiece.SentencePieceProcessor(model_file=os.fspath(path))
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{os.fspath(path)}: cannot be loaded: {reason}; expected a SentencePiece model, as "
            "training writes it"
        ) from error
    return lambda text: processor.encode(text, out_type=str)


class Unit(StrEnum):
    """What is scored and, in brackets, what it is made from. The value stands in signatures."""

    WORD = "word"
    CHARACTER = "char"
    """For languages without spaces."""
    WORD_OF_PIECES = "word(pieces)"
    """A word is there with its last piece."""
    WHOLE_PIECE = "word(whole pieces)"
    """Pieces of which none has a word mark, in a language with spaces: each is a word."""
    CHARACTER_OF_PIECES = "char(pieces)"
    """Pieces in a language without spaces: a character is there with its piece."""

    @property
    def is_character(self) -> bool:
        """Whether characters are scored; otherwise words."""
        return self in (Unit.CHARACTER, Unit.CHARACTER_OF_PIECES)

    def length(self, text: str) -> int:
        """Words or characters of a text, white space not among them."""
        return len("".join(text.split()) if self.is_character else text.split())


def log_unit(records: Iterable[Mapping[str, Any]]) -> Unit:
    """The unit of a log, from what the lists of all its lines hold.

    Pieces are known by SimulEval's key ``prediction_spm`` or StreamSpeech's ``metric``. Without
    them it is what more lines fit, words where both fit as many.
    """
    has_pieces = is_marked = is_joined = is_spaced = False
    votes = 0
    for record in records:
        prediction, delays = record.get("prediction"), record.get("delays")
        pieces = record.get("prediction_spm")
        is_joined |= "metric" in record
        is_spaced |= len(str(record.get("reference")).split()) > 1
        if is_pieces(pieces):
            has_pieces = True
            is_marked |= any(WORD_BEGIN in piece or " " in piece for piece in pieces)
            is_spaced |= " " in join_pieces(pieces)
        elif isinstance(prediction, str) and isinstance(delays, list) and len(prediction) > 1:
            votes += len(delays) == len(prediction) and " " not in prediction
            votes -= len(delays) == len(prediction.split())
    if has_pieces and not is_spaced:
        return Unit.CHARACTER_OF_PIECES
    if has_pieces:
        return Unit.WORD_OF_PIECES if is_marked else Unit.WHOLE_PIECE
    if is_joined:
        return Unit.WORD_OF_PIECES
    return Unit.CHARACTER if votes > 0 else Unit.WORD


def is_pieces(value: object) -> TypeGuard[list[str]]:
    """Whether a value of a log is a list of pieces."""
    return isinstance(value, list) and all(isinstance(piece, str) for piece in value)


def prediction_of(pieces: Sequence[str], unit: Unit) -> str:
    """The text that pieces make; words are separated by single spaces."""
    if unit is Unit.WHOLE_PIECE:
        return " ".join(pieces)
    text = join_pieces(pieces)
    return "".join(text.split()) if unit.is_character else text


@dataclass(frozen=True)
class Fault:
    """Why the times of an instance, or its elapsed times only, are not used."""

    kind: str
    """Short name, stable, as in :mod:`echostream.scoring.problems`."""
    message: str
    """What was found and what was expected, without path and line."""


class FaultFoundError(ValueError):
    """Times that cannot be used; never leaves this package."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.fault = Fault(kind, message)


def read_delays(
    record: Mapping[str, Any], text: str, unit: Unit, tokenize: Tokenizer | None
) -> tuple[tuple[float, ...], list[int]]:
    """Delays of the words (or characters) of ``text``, and which of the logged times they are.

    tokenize: for pieces that the log does not hold. Raises FaultFoundError.
    """
    times = milliseconds_of(record["delays"], "delays", "word")
    for position, (earlier, later) in enumerate(pairwise(times), 2):
        if later < earlier:
            raise FaultFoundError(
                "decreasing-delays",
                f"delays decrease at word {position}, {later:g} ms after {earlier:g} ms; "
                "expected the audio sent so far, which can only grow; the log is damaged",
            )
    ends = _ends(record, text, unit, times, tokenize)
    return tuple(times[end] for end in ends), ends


def _ends(
    record: Mapping[str, Any],
    text: str,
    unit: Unit,
    delays: tuple[float, ...],
    tokenize: Tokenizer | None,
) -> list[int]:
    """Which of the logged times are those of the units that are scored."""
    logged = record.get("prediction_length", len(delays))
    if isinstance(logged, int) and logged != len(delays):
        raise FaultFoundError(
            "count-mismatch",
            f"{len(delays)} delays and a prediction_length of {logged}; expected the same number",
        )
    pieces = record.get("prediction_spm")
    if is_pieces(pieces):
        ends = _ends_in_pieces(pieces, unit)
        if len(pieces) == len(delays):
            return ends
        raise FaultFoundError(
            "count-mismatch",
            f"{len(delays)} delays for {len(pieces)} pieces; expected one per piece",
        )
    units = len(text) if unit.is_character else len(text.split())
    if units == len(delays):
        return list(range(units))
    if "metric" not in record or units > len(delays):
        name = "char" if unit.is_character else "word"
        raise FaultFoundError(
            "count-mismatch",
            f"{len(delays)} delays for {units} {name}s; expected one per {name}, as most lines of "
            "this log have it; run again with one --eval-latency-unit for all lines",
        )
    if text and not text[0].isspace():
        raise FaultFoundError(
            "joined-words",
            f"{len(delays)} delays for {units} words, and no space before the first: what was "
            "written were words and not pieces, and StreamSpeech's fork of SimulEval joined them "
            "without spaces; run again with SimulEval's own release",
        )
    found = None if tokenize is None else tokenized_ends(text, len(delays), tokenize)
    remedy = "give the model's SentencePiece vocabulary with --spm-model"
    if tokenize is not None:
        remedy = "the given SentencePiece model does not cut the prediction into as many"
    if found is None:
        raise FaultFoundError(
            "unknown-pieces",
            f"{len(delays)} delays, one per piece, for {units} words, and the log does not hold "
            f"the pieces, so when a word was whole is not known; {remedy}",
        )
    return found


def _ends_in_pieces(pieces: Sequence[str], unit: Unit) -> list[int]:
    if unit is Unit.WHOLE_PIECE:
        return list(range(len(pieces)))
    if unit.is_character:
        texts = ["".join(piece.replace(WORD_BEGIN, " ").split()) for piece in pieces]
        return [position for position, text in enumerate(texts) for _ in text]
    return word_ends(pieces)


def read_elapsed(record: Mapping[str, Any], ends: Sequence[int]) -> tuple[float, ...]:
    """Elapsed times at ``ends``; empty if the record has none. Raises FaultFoundError."""
    if record.get("elapsed") is None:
        return ()
    times = milliseconds_of(record["elapsed"], "elapsed", "word", "bad-elapsed")
    logged = len(record["delays"])
    if times and len(times) != logged:
        raise FaultFoundError(
            "bad-elapsed",
            f"{len(times)} elapsed times for {logged} words; expected one per word, or none",
        )
    return tuple(times[end] for end in ends) if times else ()


def milliseconds_of(
    values: object, key: str, item: str, kind: str = "bad-times"
) -> tuple[float, ...]:
    """A list of such numbers. Raises FaultFoundError, which names key and ``item``."""
    if not isinstance(values, list):
        raise FaultFoundError(kind, f"{key} is {values!r}; expected a list of milliseconds")
    return tuple(
        milliseconds(value, f"{key} of {item} {position}", kind)
        for position, value in enumerate(values, 1)
    )


def milliseconds(value: object, what: str, kind: str = "bad-times") -> float:
    """A number from 0 to LONGEST_MS. Raises FaultFoundError, which names ``what``, for all else."""
    # JSON as Python writes it may hold NaN and Infinity, and a mean over them says nothing.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FaultFoundError(kind, f"{what} is {value!r}; expected a number of milliseconds")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not 0 <= number < math.inf:
        raise FaultFoundError(kind, f"{what} is {number}; expected a finite number of ms from 0 up")
    if number > LONGEST_MS:
        raise FaultFoundError(kind, f"{what} is {number:g}; expected at most {LONGEST_MS:g} ms")
    return number
