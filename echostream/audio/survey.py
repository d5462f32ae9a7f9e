"""A look at recordings before a run: can each be read, and is it what it should be?"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echostream.audio.files import check_complete, open_audio
from echostream.audio.resample import check_sample_rate
from echostream.audio.samples import cancels, check_samples
from echostream.errors import AudioFormatError

_BLOCK_SECONDS = 10
_FULL_SCALE = 32767 / 32768
_CLIPPED_SHARE = 1e-4
_SILENT_DB = -60.0
_SHORTEST_SECONDS = 0.1


@dataclass(frozen=True)
class Recording:
    """What one audio file is; numbers are None where it could not be read so far.

    sample_rate: Hz. peak_db: of the loudest sample, dB below full scale, -inf for digital silence.
    clipped: samples at full scale. error: why it cannot be used, "" if it can. remarks: what is
    probably not as it should be.
    """

    path: str
    seconds: float | None = None
    sample_rate: int | None = None
    channels: int | None = None
    peak_db: float | None = None
    clipped: int | None = None
    error: str = ""
    remarks: tuple[str, ...] = ()


def survey(path: str | os.PathLike[str]) -> Recording:
    """Read a file from start to end, a few seconds at a time, and say what it is. Never raises."""
    name = os.fspath(path)
    try:
        return _survey(name)
    except AudioFormatError as error:
        return Recording(name, error=str(error))


def _survey(name: str) -> Recording:
    peak, clipped, heard, cancelled = 0.0, 0, 0, 0
    with open_audio(name) as file:
        rate, channels = check_sample_rate(file.samplerate), file.channels
        while heard < file.frames:
            block = file.read(_BLOCK_SECONDS * rate, dtype="float32", always_2d=True)
            if not len(block):
                break
            for column in block.T:
                _check(name, np.ascontiguousarray(column), heard)
            loudness = np.abs(block)
            peak = max(peak, float(loudness.max()))
            clipped += int(np.count_nonzero(loudness >= _FULL_SCALE))
            if channels == 2:
                cancelled += len(block) * cancels(block.mean(axis=1), block)
            heard += len(block)
        check_complete(file, name, heard)
    seconds = heard / rate
    peak_db = 20 * math.log10(peak) if peak else -math.inf
    found = {
        f"shorter than {_SHORTEST_SECONDS} s": seconds < _SHORTEST_SECONDS,
        "silent": peak_db < _SILENT_DB,
        "clipped": clipped > _CLIPPED_SHARE * heard * channels,
        "channels cancel each other, choose --channel left or right": cancelled > heard / 2,
    }
    remarks = tuple(remark for remark, holds in found.items() if holds)
    return Recording(name, seconds, rate, channels, peak_db, clipped, remarks=remarks)


def _check(name: str, samples: NDArray[np.float32], position: int) -> None:
    try:
        check_samples(samples, position=position)
    except AudioFormatError as error:
        raise AudioFormatError(f"audio file {name!r}: {error}") from error


def format_survey(recordings: Sequence[Recording]) -> str:
    """A table with a line for each recording, and one of sums."""
    lines = ["line   seconds      Hz  channels  peak dB  clipped  file"]
    for number, each in enumerate(recordings, 1):
        if each.error:
            lines.append(f"{number:4}  cannot be used: {each.error}")
            continue
        remarks = f"  ({'; '.join(each.remarks)})" if each.remarks else ""
        lines.append(
            f"{number:4}{each.seconds:10.2f}{each.sample_rate:8}{each.channels:10}"
            f"{each.peak_db:9.1f}{each.clipped:9}  {each.path}{remarks}"
        )
    rates = sorted({each.sample_rate for each in recordings if each.sample_rate})
    lines.append(
        f"{len(recordings)} recordings, {sum(each.seconds or 0 for each in recordings):.1f} s at "
        f"{', '.join(map(str, rates)) or 'no'} Hz; {sum(bool(each.error) for each in recordings)} "
        f"cannot be used, {sum(bool(each.remarks) for each in recordings)} with a remark"
    )
    return "\n".join(lines)
