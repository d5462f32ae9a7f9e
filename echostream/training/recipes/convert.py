"""One clip to 16 kHz mono FLAC.

Symbols: ``n`` samples at the clip's own rate, ``m`` samples at 16 kHz.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from echostream.constants import SAMPLE_RATE
from echostream.errors import DataError
from echostream.training.recipes.clip import Clip, CorpusReader
from echostream.training.recipes.manifest import replacing


def to_sample_rate(samples: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """``[n]`` at ``sample_rate`` Hz to ``[m]`` at 16 kHz, kept within [-1, 1]."""
    if sample_rate != SAMPLE_RATE:
        samples = soxr.resample(samples, sample_rate, SAMPLE_RATE, quality="HQ")
    return np.clip(samples, -1.0, 1.0).astype(np.float32, copy=False)


def convert(reader: CorpusReader, clip: Clip, target: Path) -> int:
    """Writes the clip as 16-bit FLAC and returns its number of samples at 16 kHz.

    A file that is already there is complete (it was renamed into place) and is only measured.
    """
    done = flac_samples(target)
    if done is not None:
        return done
    try:
        samples = to_sample_rate(*reader.decode(clip))
    except (soundfile.SoundFileError, ValueError) as error:
        raise DataError(
            f"cannot decode {clip.path}: {error}; delete the work folder and run again"
        ) from error
    if samples.size == 0 or not np.isfinite(samples).all():
        raise DataError(f"{clip.path} has no usable samples (empty or not finite)")
    return write_flac(target, samples)


def write_flac(target: Path, samples: NDArray[np.float32]) -> int:
    """Writes ``[m]`` at 16 kHz as 16-bit FLAC, all or nothing, and returns m."""
    # Coded in memory: soundfile reports a full disk as an error of its own, without the cause.
    coded = io.BytesIO()
    soundfile.write(coded, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    with replacing(target) as part:
        part.write_bytes(coded.getvalue())
    return int(samples.size)


def flac_samples(path: Path) -> int | None:
    """Samples in a finished FLAC file of the recipe; None where there is no such file."""
    if not path.is_file():
        return None
    try:
        info = soundfile.info(path)
    except soundfile.SoundFileError:
        return None
    usable = info.samplerate == SAMPLE_RATE and info.channels == 1 and info.frames > 0
    return int(info.frames) if usable else None
