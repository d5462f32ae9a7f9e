"""One scored utterance, and how a line of SimulEval's ``instances.log`` becomes one.

SimulEval (1.1.4 and main alike) writes one JSON object per line with the keys index, prediction,
delays, elapsed, prediction_length, reference, source and source_length. For speech source and text
output, in words, there is one delay and one elapsed time per word of the prediction. With pieces
(``prediction_spm``, or StreamSpeech's fork) there is one per piece: see
:mod:`echostream.scoring.units`. Speech output: :mod:`echostream.scoring.speech`.

A line whose text can be used and whose times cannot becomes an instance without times and with a
:class:`~echostream.scoring.units.Fault`, which :mod:`echostream.scoring.log` counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from echostream.errors import DataError
from echostream.scoring.segments import Segment
from echostream.scoring.units import (
    Fault,
    FaultFoundError,
    Tokenizer,
    Unit,
    is_pieces,
    milliseconds,
    prediction_of,
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
    """Words of the hypothesis, separated by white space (of a log of characters: characters)."""
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
    unit: Unit = Unit.WORD
    segments: tuple[Segment, ...] = ()
    """What the run's ``segments.log`` says about this utterance; empty if there is none."""
    faults: tuple[Fault, ...] = ()

    @property
    def source_file(self) -> str:
        """First line of the description, which is the path."""
        return self.source.partition("\n")[0]

    @property
    def reference_length(self) -> int:
        """Words (or characters) of the reference, at least 1; white space never counts.

        Trap: SimulEval counts single spaces, so that a double one adds a word.
        """
        return self.unit.length(self.reference) or 1


def parse_instance(
    record: Mapping[str, Any],
    where: str,
    *,
    unit: Unit = Unit.WORD,
    tokenize: Tokenizer | None = None,
) -> Instance:
    """The instance of a record; ``where`` begins the messages.

    unit: of the log, see :func:`echostream.scoring.units.log_unit`. tokenize: for pieces that a log
        does not hold, see :func:`echostream.scoring.units.tokenized_ends`.

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
    if is_pieces(record.get("prediction_spm")):
        instance = replace(instance, prediction=prediction_of(record["prediction_spm"], unit))
    try:
        length = milliseconds(record["source_length"], "source_length", "bad-source-length")
        instance = replace(instance, source_length=length)
        delays, ends = read_delays(record, instance.prediction, unit, tokenize)
        instance = replace(instance, delays=delays)
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
        # JSON can hold halves of surrogate pairs, which no file and no terminal takes.
        found = ", ".join(record).encode("utf-8", "backslashreplace").decode() or "no key"
        raise DataError(
            f"{where}: lacks {', '.join(missing)}; found {found}; expected a line of SimulEval's "
            "instances.log"
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
