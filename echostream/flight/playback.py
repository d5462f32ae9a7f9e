"""A recorded flight once more: the same segments to the same system, compared as it goes.

Symbols: ``N`` samples of a recording.

The audio comes from the record itself, or from the recordings it was made from.
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from echostream.audio.description import describe_audio
from echostream.audio.samples import as_array
from echostream.errors import AudioFormatError, DataError
from echostream.flight.record import (
    FlightRecord,
    RecordedSegment,
    Stream,
    describe_error,
    describe_turn,
)
from echostream.machine import machine, versions
from echostream.session import Translator, TranslatorState

_INTEGERS = {"int16": 2.0**15, "int32": 2.0**31}


class Sources:
    """The audio of each segment of a record.

    Args:
        record: whose audio is wanted.
        paths: recordings, in any order; not needed where the record holds the audio.

    Raises:
        AudioFormatError: if a recording cannot be read.
        DataError: if the audio of a stream is in neither place.
    """

    def __init__(self, record: FlightRecord, paths: Sequence[str | Path] = ()) -> None:
        self._recordings = [_read(path) for path in paths]
        self._choice: dict[int, NDArray[np.float32]] = {}
        self._position: dict[int, int] = {}
        outside: dict[int, list[RecordedSegment]] = {}
        for segment in record.segments:
            if segment.num_samples and "base64" not in segment.audio:
                outside.setdefault(segment.stream, []).append(segment)
        for stream, segments in outside.items():
            self._choice[stream] = self._matching(stream, segments)

    def samples(self, segment: RecordedSegment) -> NDArray[Any]:
        """``[n]`` or ``[n, 2]``, as it was pushed if the source is the same; to be asked in order.

        A recording that ends too early gives what it has.
        """
        audio = segment.audio
        if segment.num_samples == 0:
            return np.zeros(audio.get("shape", 0), audio.get("dtype", "float32"))
        if "base64" in audio:
            return _decoded(segment)
        start = self._position.get(segment.stream, 0)
        self._position[segment.stream] = start + segment.num_samples
        return _cut(self._choice[segment.stream], start, segment)

    def _matching(self, stream: int, segments: Sequence[RecordedSegment]) -> NDArray[np.float32]:
        """The recording that agrees with the record for longest."""
        if not self._recordings:
            raise DataError(
                f"the record does not hold the audio of stream {stream}; expected --audio with the "
                "recordings, or a record made with --record-audio"
            )
        agreed = [_agreement(recording, segments) for recording in self._recordings]
        best = max(range(len(agreed)), key=agreed.__getitem__)
        if agreed[best] == 0:
            raise DataError(
                f"none of the {len(agreed)} recordings of --audio begins with the first segment of "
                f"stream {stream} ({segments[0].num_samples} samples, sha256 "
                f"{segments[0].audio['sha256'][:16]}); expected the files that were translated"
            )
        return self._recordings[best]


def _agreement(recording: NDArray[np.float32], segments: Sequence[RecordedSegment]) -> int:
    """How many segments, from the first on, are a part of the recording."""
    start = 0
    for count, segment in enumerate(segments):
        now = describe_audio(_cut(recording, start, segment), None)
        if now["sha256"] != segment.audio["sha256"]:
            return count
        start += segment.num_samples
    return len(segments)


def _cut(recording: NDArray[np.float32], start: int, segment: RecordedSegment) -> NDArray[Any]:
    part = recording[start : start + segment.num_samples]
    dtype = str(segment.audio["dtype"])
    scale = _INTEGERS.get(dtype)
    if scale is not None:
        # In float64, where the full range of 32 bits is exact.
        return np.rint(part.astype(np.float64) * scale).astype(dtype)
    return part.astype(dtype) if dtype in ("float16", "float64") else part


def _decoded(segment: RecordedSegment) -> NDArray[Any]:
    audio = segment.audio
    where = f"the audio of stream {segment.stream}, segment {segment.number}"
    try:
        data = base64.b64decode(audio["base64"], validate=True)
        array = np.frombuffer(data, np.dtype(audio["dtype"]).newbyteorder("<"))
        array = array.reshape(audio["shape"])
    except (binascii.Error, TypeError, ValueError) as error:
        raise DataError(f"{where} is damaged in the record: {error}") from error
    if describe_audio(array, None).get("sha256") != audio["sha256"]:
        raise DataError(f"{where} is damaged in the record: its hash does not match")
    return array


def _read(path: str | Path) -> NDArray[np.float32]:
    """As SimulEval reads a recording: float32 ``[N]`` or ``[N, 2]``."""
    try:
        return as_array(soundfile.read(str(path), dtype="float32")[0])
    except (OSError, soundfile.SoundFileError, TypeError, AudioFormatError) as error:
        raise AudioFormatError(
            f"the recording '{path}' cannot be read ({error}); expected an audio file that was "
            "translated"
        ) from error


@dataclass(frozen=True)
class Difference:
    """The first thing that is not as it was."""

    stream: int
    segment: int
    field: str
    """Such as ``turns[0].words``."""
    recorded: Any
    now: Any

    def __str__(self) -> str:
        return (
            f"first difference: stream {self.stream}, segment {self.segment}: {self.field}\n"
            f"  recorded  {_shown(self.recorded)}\n"
            f"  now       {_shown(self.now)}"
        )


@dataclass(frozen=True)
class Outcome:
    """What came of a playback."""

    num_segments: int
    """That were equal."""
    difference: Difference | None
    notes: tuple[str, ...]
    """Segments that could not be pushed again."""


def play(
    record: FlightRecord,
    translator: Translator,
    sources: Sources,
    progress: Callable[[Iterable[Stream | RecordedSegment]], Iterable[Any]] = iter,
) -> Outcome:
    """Push what was pushed and compare, up to the first difference.

    Of a segment these are compared, in this order: the audio, the error, the turns, the counters.
    Compute times are not.

    Args:
        record: what happened.
        translator: built of the record's options.
        sources: of the audio.
        progress: goes around the events, such as a progress bar.
    """
    states: dict[int, TranslatorState] = {}
    equal = 0
    notes: list[str] = []
    for event in progress(record.events):
        if isinstance(event, Stream):
            states[event.number] = translator.init_state(event.reference)
            continue
        if "unreadable" in event.audio:
            notes.append(
                f"stream {event.stream}, segment {event.number}: a {event.audio['unreadable']} was "
                "pushed, which is no audio and was not kept; passed over"
            )
            continue
        now, states[event.stream] = _again(event, translator, sources, states[event.stream])
        difference = _compare(event, now)
        if difference is not None:
            return Outcome(equal, difference, tuple(notes))
        equal += 1
    return Outcome(equal, None, tuple(notes))


def _again(
    segment: RecordedSegment, translator: Translator, sources: Sources, state: TranslatorState
) -> tuple[dict[str, Any], TranslatorState]:
    samples = sources.samples(segment)
    # The rate that was said, not the file's: a host that says another one is part of the story.
    rate = segment.audio["sample_rate"]
    found: dict[str, Any] = {"audio": describe_audio(samples, rate)}
    if found["audio"].get("sha256") != segment.audio["sha256"]:
        return found, state
    try:
        step, state = translator.step(samples, rate, state, is_final=segment.is_final)
    except Exception as error:
        # Whatever was raised then was recorded, so whatever is raised now is a result too.
        return {**found, "error": describe_error(error)}, state
    turns = [describe_turn(turn) for turn in step.turns]
    return {**found, "turns": turns, "counters": translator.counters(state)}, state


def _compare(segment: RecordedSegment, now: Mapping[str, Any]) -> Difference | None:
    audio = {key: segment.audio[key] for key in ("shape", "dtype", "sha256")}
    pairs: list[tuple[str, Any, Any]] = [
        ("audio", audio, {key: now["audio"].get(key) for key in audio})
    ]
    pairs += [
        (key, segment.outcome.get(key), now.get(key)) for key in ("error", "turns", "counters")
    ]
    for key, recorded, found in pairs:
        first = _first(key, recorded, json.loads(json.dumps(found)))
        if first is not None:
            return Difference(segment.stream, segment.number, *first)
    return None


def _first(field: str, recorded: Any, now: Any) -> tuple[str, Any, Any] | None:
    """The innermost first place in which two JSON values differ."""
    if recorded == now:
        return None
    if isinstance(recorded, dict) and isinstance(now, dict):
        for key in recorded | now:
            found = _first(f"{field}.{key}", recorded.get(key), now.get(key))
            if found is not None:
                return found
    if isinstance(recorded, list) and isinstance(now, list) and "words" not in field:
        for index, (one, other) in enumerate(zip(recorded, now, strict=False)):
            found = _first(f"{field}[{index}]", one, other)
            if found is not None:
                return found
        return f"number of {field}", len(recorded), len(now)
    return field, recorded, now


def differing_settings(record: FlightRecord, translator: Translator) -> list[str]:
    """What is not as it was in the system itself: lines of what, recorded, now."""
    there, here = record.header["settings"] or {}, json.loads(json.dumps(translator.settings)) or {}
    pairs = [(key, there.get(key), here.get(key)) for key in {**there, **here}]
    then = {**record.header["versions"], **record.header.get("machine", {})}
    now = {**versions(), **machine()}
    pairs += [(key, then[key], value) for key, value in now.items() if key in then]
    return [
        f"{key}: recorded {_shown(recorded)}, now {_shown(now)}"
        for key, recorded, now in pairs
        if recorded != now
    ]


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 300 else f"{text[:300]} ... ({len(text)} characters)"


def require_streams(record: FlightRecord, name: str) -> None:
    """Raise :class:`DataError` if there is nothing to play."""
    if not record.segments:
        raise DataError(f"{name} holds no segment; expected a record of a run that began")
