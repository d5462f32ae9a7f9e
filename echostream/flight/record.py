"""The flight recorder and its record: what came in, what was decided, and why, as it happens.

A file of JSON lines. The first is the header: versions, the translator's fingerprint and settings,
the agent's options. Then, in the order of the events::

    {"event": "stream", "stream": 0, "recording": 0, "reference": null}
    {"event": "segment", "stream": 0, "segment": 0, "final": false,
     "audio": {"shape": [5120], "dtype": "float32", "sample_rate": 16000, "sha256": "..."},
     "turns": [{"num_chunks": 1, "audio_ms": 320, "reason": "...", "words": []}],
     "counters": {"samples_heard": 5120, ...}, "costs_ms": {"front_end": 0.5, "encoder": 3.1, ...}}

A segment that was refused has ``"error": {"kind": ..., "message": ...}`` in place of what came of
it. With the audio itself, ``audio`` has ``base64`` too: the array's bytes, little-endian.
``echostream replay`` (:mod:`echostream.flight`) reads the file.

Each segment costs one hash, one conversion to JSON and one write of its own line, whatever has been
recorded before. A line is written before the host gets its answer, so of a process that dies the
record lacks at most the segment it died in, and one that ends in mid-line is good up to there.
"""

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from echostream.audio.description import NUMBERS, describe_audio
from echostream.errors import DataError
from echostream.machine import machine, versions
from echostream.session import SystemOptions
from echostream.session.costs import rounded
from echostream.session.line_file import LineFile
from echostream.session.saved_stream import fingerprint
from echostream.session.session import Segment, StreamObserver
from echostream.session.translator import Step, Translator, TranslatorState
from echostream.session.writer import Turn

FORMAT = "echostream-flight-2"


class FlightRecorder:
    """Writes one file for all streams of a process; an old file of that name is emptied.

    Args:
        path: of the file.
        translator: that decides.
        options: of the system, as plain values.
        with_audio: whether to put the audio into it.

    Raises:
        ConfigError: if the file cannot be written at the start. Later failures (a full disk) end
            the record with one warning and never the translation.
    """

    def __init__(
        self,
        path: str | Path,
        translator: Translator,
        options: Mapping[str, Any],
        *,
        with_audio: bool = False,
    ) -> None:
        self.translator, self.with_audio = translator, with_audio
        self._streams = itertools.count()
        header = {
            "format": FORMAT,
            "versions": versions(),
            "machine": machine(),
            "fingerprint": fingerprint(translator),
            "settings": translator.settings,
            "options": dict(options),
        }
        self.file = LineFile(path, "--record", json.dumps(header) + "\n")

    def begin(self, recording: int, state: TranslatorState) -> StreamObserver:
        """See :class:`~echostream.session.session.Observer`."""
        reference = state.writer.reference
        event = {
            "event": "stream",
            "stream": next(self._streams),
            "recording": recording,
            "reference": None if reference is None else " ".join(reference),
        }
        self.file.write(json.dumps(event) + "\n")
        return _RecordedStream(self, event["stream"])


class _RecordedStream(StreamObserver):
    def __init__(self, recorder: FlightRecorder, number: Any) -> None:
        self._recorder, self._number = recorder, number
        self._segments = itertools.count()

    def stepped(self, segment: Segment, step: Step, state: TranslatorState) -> None:
        """One segment and what came of it."""
        self._write(
            segment,
            turns=[describe_turn(turn) for turn in step.turns],
            counters=self._recorder.translator.counters(state),
            costs_ms=rounded(step.costs),
        )

    def refused(self, segment: Segment, error: Exception, state: TranslatorState) -> None:
        """One segment and what was wrong with it."""
        self._write(segment, error=describe_error(error))

    def _write(self, segment: Segment, **outcome: Any) -> None:
        audio = describe_audio(
            segment.samples, segment.sample_rate, with_content=self._recorder.with_audio
        )
        event = {
            "event": "segment",
            "stream": self._number,
            "segment": next(self._segments),
            "final": segment.is_final,
            "audio": audio,
            **outcome,
        }
        self._recorder.file.write(json.dumps(event) + "\n")


def describe_turn(turn: Turn) -> dict[str, Any]:
    """A turn as the record has it."""
    return {
        "num_chunks": turn.num_chunks,
        "audio_ms": turn.audio_ms,
        "reason": turn.reason,
        "words": list(turn.words),
    }


def describe_error(error: Exception) -> dict[str, str]:
    """An error as the record has it."""
    return {"kind": type(error).__name__, "message": str(error)}


_OUTCOMES = ({"turns", "counters"}, {"error"})


@dataclass(frozen=True)
class Stream:
    """The beginning of a stream."""

    number: int
    recording: int
    """Which of the recordings of a run it was, from 0."""
    reference: str | None
    """What the forced writer was to write."""


@dataclass(frozen=True)
class RecordedSegment:
    """One segment that was pushed, and what came of it."""

    stream: int
    number: int
    """In its stream, from 0."""
    is_final: bool
    audio: Mapping[str, Any]
    """``shape``, ``dtype``, ``sample_rate``, ``sha256``, perhaps ``base64``; or ``unreadable``."""
    outcome: Mapping[str, Any]
    """``turns`` and ``counters``, or ``error``."""

    @property
    def num_samples(self) -> int:
        """Of one channel."""
        shape = self.audio.get("shape")
        return shape[0] if shape else 0


@dataclass(frozen=True)
class FlightRecord:
    """What a file holds."""

    header: Mapping[str, Any]
    events: tuple[Stream | RecordedSegment, ...]
    is_cut: bool
    """Whether the last line was not complete, and was left out."""

    @property
    def segments(self) -> tuple[RecordedSegment, ...]:
        """All of them, in the order in which they were pushed."""
        return tuple(event for event in self.events if isinstance(event, RecordedSegment))

    @property
    def streams(self) -> tuple[Stream, ...]:
        """In the order in which they began."""
        return tuple(event for event in self.events if isinstance(event, Stream))

    def options(self, **changes: Any) -> SystemOptions:
        """The recorded agent's options with changes, without its record and logs.

        Raises:
            DataError: if there are options that this version does not have.
        """
        known = {field.name for field in fields(SystemOptions)}
        given = {**self.header["options"], **changes}
        unknown = sorted(
            key for key in given if key not in known and given[key] not in (None, False)
        )
        if unknown:
            raise DataError(
                f"the record was made with options that this version does not have "
                f"({', '.join(unknown)}); replay it with echostream "
                f"{self.header['versions'].get('echostream', 'of the record')}"
            )
        return SystemOptions(**{key: value for key, value in given.items() if key in known})


def read_record(path: str | Path) -> FlightRecord:
    """A flight record, up to where it was cut if it was.

    Raises:
        DataError: if the file cannot be read, is no flight record, or is damaged before its end.
    """
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(
            f"cannot read the record {path}: {error.strerror}; expected a file that --record wrote"
        ) from error
    lines = text.split("\n")
    # What follows the last line end is empty, or a line that was cut.
    is_cut = lines.pop() != ""
    if not lines:
        raise DataError(f"{path} has no whole header; expected a file that --record wrote")
    values = [_value(path, number, line) for number, line in enumerate(lines, start=1)]
    header = _header(path, values[0])
    events = [_event(path, number, value) for number, value in enumerate(values[1:], start=2)]
    _check_order(path, events)
    return FlightRecord(header, tuple(events), is_cut)


def _value(path: str | Path, number: int, line: str) -> Mapping[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}, line {number}: is damaged ({error}); expected JSON") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}, line {number}: holds {value!r:.60}; expected a JSON object")
    return value


def _header(path: str | Path, value: Mapping[str, Any]) -> Mapping[str, Any]:
    if value.get("format") != FORMAT:
        raise DataError(
            f"{path} has the format {value.get('format')!r}; expected {FORMAT!r}: it is no flight "
            "record, or one of another version"
        )
    for key, kind in (("versions", dict), ("fingerprint", str), ("options", dict)):
        if not isinstance(value.get(key), kind):
            raise DataError(
                f"{path}, line 1: {key} is {value.get(key)!r}; expected {kind.__name__}"
            )
    return value


def _event(path: str | Path, number: int, value: Mapping[str, Any]) -> Stream | RecordedSegment:
    try:
        if value["event"] == "stream":
            return Stream(int(value["stream"]), int(value["recording"]), value["reference"])
        if value["event"] != "segment":
            raise ValueError(f"event {value['event']!r}")
        outcome = {key: value[key] for key in ("turns", "counters", "error") if key in value}
        if set(outcome) not in _OUTCOMES:
            raise ValueError(f"outcome {sorted(outcome)}")
        audio = dict(value["audio"])
        if "unreadable" not in audio:
            audio["shape"] = [int(size) for size in audio["shape"]]
            audio["sha256"] = str(audio["sha256"])
            if np.dtype(audio["dtype"]).kind not in NUMBERS:
                raise ValueError(f"dtype {audio['dtype']!r}")
        return RecordedSegment(
            int(value["stream"]), int(value["segment"]), bool(value["final"]), audio, outcome
        )
    except (LookupError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}, line {number}: is no event of a flight record ({error!r}); expected what "
            "--record wrote"
        ) from error


def _check_order(path: str | Path, events: list[Stream | RecordedSegment]) -> None:
    """A lost or doubled line would look like a difference that there was none of."""
    heard: dict[int, int] = {}
    for line, event in enumerate(events, start=2):
        if isinstance(event, Stream):
            expected = event.number not in heard
            heard[event.number] = 0
        else:
            expected = heard.get(event.stream) == event.number
            heard[event.stream] = event.number + 1
        if not expected:
            raise DataError(
                f"{path}, line {line}: {event!r:.80} does not follow from the lines before; a line "
                "is missing or there twice"
            )
