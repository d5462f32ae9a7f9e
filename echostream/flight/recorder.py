"""The flight recorder: what came in, what was decided, and why, as it happens.

A file of JSON lines. The first is the header: versions, the translator's fingerprint and settings,
the agent's options. Then, in the order of the events::

    {"event": "stream", "stream": 0, "recording": 0, "reference": null}
    {"event": "segment", "stream": 0, "segment": 0, "final": false,
     "audio": {"shape": [5120], "dtype": "float32", "sample_rate": 16000, "sha256": "..."},
     "turns": [{"num_chunks": 1, "audio_ms": 320, "reason": "...", "words": []}],
     "counters": {"samples_heard": 5120, ...}, "costs_ms": [0.5, 3.1, 0.2, 0.2, 0.1]}

A segment that was refused has ``"error": {"kind": ..., "message": ...}`` in place of what came of
it. With the audio itself, ``audio`` has ``base64`` too: the array's bytes, little-endian.
``echostream replay`` (:mod:`echostream.flight`) reads the file.

Each segment costs one hash, one conversion to JSON and one write of its own line, whatever has been
recorded before. A line is written before the host gets its answer, so of a process that dies the
record lacks at most the segment it died in.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from echostream.audio.samples import Samples, as_array
from echostream.errors import AudioFormatError, ConfigError
from echostream.machine import machine, versions
from echostream.session.costs import StageCosts
from echostream.session.options import AgentOptions
from echostream.session.saved_stream import fingerprint
from echostream.session.translator import Step, Translator, TranslatorState
from echostream.session.writer import Turn

logger = logging.getLogger(__name__)

FORMAT = "echostream-flight-1"

NUMBERS = "fiub"
"""Kinds of dtype whose bytes mean something: floats, whole numbers, booleans."""


class FlightRecorder:
    """Writes one file; an old file of that name is emptied.

    Args:
        options: of the agent; ``record`` names the file, ``record_audio`` puts the audio into it.
        translator: that decides.

    Raises:
        ConfigError: if the file cannot be written at the start. Later failures (a full disk) end
            the record with one warning and never the translation; ``lost`` counts the lines.
    """

    def __init__(self, options: AgentOptions, translator: Translator) -> None:
        assert options.record is not None
        self._path = Path(options.record)
        self._with_audio = options.record_audio
        self._streams = itertools.count()
        self.lost = 0
        header = {
            "format": FORMAT,
            "versions": versions(),
            "machine": machine(),
            "fingerprint": fingerprint(translator),
            "settings": translator.settings,
            "options": asdict(options),
        }
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(json.dumps(header) + "\n", encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"cannot write --record {options.record}: {error.strerror}; expected the path of a "
                "file"
            ) from error

    def begin(self, recording: int, state: TranslatorState) -> int:
        """A stream's first audio is about to be heard; its number in the record."""
        stream = next(self._streams)
        reference = state.writer.reference
        event = {
            "event": "stream",
            "stream": stream,
            "recording": recording,
            "reference": None if reference is None else " ".join(reference),
        }
        self._write(event)
        return stream

    def segment(
        self,
        position: tuple[int, int],
        samples: Samples,
        sample_rate: int | None,
        *,
        is_final: bool,
        outcome: tuple[Step, TranslatorState] | Exception,
    ) -> None:
        """One segment of stream ``position[0]``, its number in the stream being ``position[1]``."""
        event: dict[str, Any] = {
            "event": "segment",
            "stream": position[0],
            "segment": position[1],
            "final": is_final,
            "audio": describe_audio(samples, sample_rate, with_content=self._with_audio),
        }
        if isinstance(outcome, Exception):
            event["error"] = describe_error(outcome)
        else:
            step, state = outcome
            event["turns"] = [describe_turn(turn) for turn in step.turns]
            event["counters"] = counters(state)
            event["costs_ms"] = _rounded(step.costs)
        self._write(event)

    def _write(self, event: dict[str, Any]) -> None:
        if self.lost:
            self.lost += 1
            return
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(event) + "\n")
        except OSError as error:
            self.lost = 1
            logger.warning("%s ends here, the translation goes on: %s", self._path, error.strerror)


def describe_audio(
    samples: Samples, sample_rate: int | None, *, with_content: bool = False
) -> dict[str, Any]:
    """A segment's audio as the record has it.

    ``samples`` that are no audio have the name of their type under ``unreadable`` and nothing else.
    """
    try:
        array = as_array(samples)
    except AudioFormatError:
        return {"unreadable": type(samples).__name__}
    if array.dtype.kind not in NUMBERS:
        return {"unreadable": f"{type(samples).__name__} of {array.dtype}"}
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    data = array.tobytes()
    described: dict[str, Any] = {
        "shape": list(array.shape),
        "dtype": array.dtype.newbyteorder("=").name,
        # A host may pass anything; the front end says what is wrong with it.
        "sample_rate": sample_rate if isinstance(sample_rate, int | None) else repr(sample_rate),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    if with_content:
        described["base64"] = base64.b64encode(data).decode("ascii")
    return described


def describe_turn(turn: Turn) -> dict[str, Any]:
    """A turn as the record has it."""
    return {**asdict(turn), "words": list(turn.words)}


def describe_error(error: Exception) -> dict[str, str]:
    """An error as the record has it."""
    return {"kind": type(error).__name__, "message": str(error)}


def counters(state: TranslatorState) -> dict[str, int]:
    """Everything that is counted in a stream."""
    front_end, writer = state.listener.front_end, state.writer
    # The baseline's front end keeps another one inside.
    checked = getattr(front_end, "front_end", front_end)
    assembler = writer.target.assembler
    return {
        "samples_heard": front_end.samples_heard,
        "clipped": checked.clipped,
        "nonfinite": checked.nonfinite,
        "chunks": writer.num_chunks,
        "encoder_frames": writer.num_frames,
        "source_tokens": writer.source.num_tokens,
        "target_tokens": writer.target.num_tokens,
        "words_written": writer.num_written,
        "words_dropped": assembler.repetition.dropped,
        "characters_cut": assembler.cut_characters,
    }


def _rounded(costs: StageCosts) -> list[float]:
    return [round(cost, 3) for cost in asdict(costs).values()]
