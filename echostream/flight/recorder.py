"""The flight recorder: what came in, what was decided, and why, as it happens.

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
record lacks at most the segment it died in.
"""

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from echostream.audio.description import describe_audio
from echostream.machine import machine, versions
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
        self._translator = translator
        self._with_audio = with_audio
        self._streams = itertools.count()
        header = {
            "format": FORMAT,
            "versions": versions(),
            "machine": machine(),
            "fingerprint": fingerprint(translator),
            "settings": translator.settings,
            "options": dict(options),
        }
        self._file = LineFile(path, "--record", json.dumps(header) + "\n")

    def begin(self, recording: int, state: TranslatorState) -> StreamObserver:
        """See :class:`~echostream.session.session.Observer`."""
        reference = state.writer.reference
        event = {
            "event": "stream",
            "stream": next(self._streams),
            "recording": recording,
            "reference": None if reference is None else " ".join(reference),
        }
        self._file.write(json.dumps(event) + "\n")
        return _RecordedStream(event["stream"], self._translator, self._file, self._with_audio)


class _RecordedStream(StreamObserver):
    def __init__(
        self, number: Any, translator: Translator, file: LineFile, with_audio: bool
    ) -> None:
        self._number = number
        self._translator = translator
        self._file = file
        self._with_audio = with_audio
        self._segments = itertools.count()

    def stepped(self, segment: Segment, step: Step, state: TranslatorState) -> None:
        """One segment and what came of it."""
        self._write(
            segment,
            turns=[describe_turn(turn) for turn in step.turns],
            counters=self._translator.counters(state),
            costs_ms=rounded(step.costs),
        )

    def refused(self, segment: Segment, error: Exception, state: TranslatorState) -> None:
        """One segment and what was wrong with it."""
        self._write(segment, error=describe_error(error))

    def _write(self, segment: Segment, **outcome: Any) -> None:
        audio = describe_audio(segment.samples, segment.sample_rate, with_content=self._with_audio)
        event = {
            "event": "segment",
            "stream": self._number,
            "segment": next(self._segments),
            "final": segment.is_final,
            "audio": audio,
            **outcome,
        }
        self._file.write(json.dumps(event) + "\n")


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
