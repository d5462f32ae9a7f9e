"""Where the audio of a replay comes from: the record itself, or the recordings it was made from.

Symbols: ``N`` samples of a recording.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from echostream.audio.description import describe_audio
from echostream.audio.samples import as_array
from echostream.errors import AudioFormatError, DataError
from echostream.flight.record import FlightRecord, RecordedSegment

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
