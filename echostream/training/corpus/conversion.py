"""Recordings to 16 kHz mono FLAC, several at once; what a full disk is called.

What is there already is kept.

Symbols: ``n`` samples at a recording's own rate, ``m`` samples at 16 kHz.
"""

import errno
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from echostream.constants import SAMPLE_RATE
from echostream.errors import DataError
from echostream.whole_file import write_whole

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turns a full or closed disk under ``folder`` into a `DataError`."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "free some space or" if full else "check the folder, or"
        raise DataError(
            f"cannot read or write under {folder}: {error}; {advice} name another folder"
        ) from error


def progress(items: Iterable[Item], total: int, description: str, unit: str) -> Iterator[Item]:
    """The items, with a bar where standard error is a terminal.

    Raises `DataError` without the package tqdm, which only the extra ``train`` installs.
    """
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise DataError(
            'the Python package tqdm is missing; install it with `pip install "echostream[train]"`'
        ) from error
    yield from tqdm(items, total=total, desc=description, unit=unit, disable=None)


def in_parallel(
    work: Callable[[Item], Result], items: Sequence[Item], jobs: int, title: str, unit: str
) -> Iterator[tuple[Item, Result]]:
    """Each item with its result, in order, made by ``jobs`` threads; none is begun after a
    fault."""
    pool = ThreadPoolExecutor(max_workers=jobs)
    try:
        pairs = zip(items, pool.map(work, items), strict=True)
        yield from progress(pairs, len(items), title, unit)
    finally:
        pool.shutdown(cancel_futures=True)


def convert(
    target: Path, decode: Callable[[], tuple[NDArray[np.float32], int]], source: Path
) -> int:
    """Writes what ``decode`` gives ([n] and its rate) as 16-bit FLAC and returns m.

    A file that is already there is complete (it was renamed into place) and is only measured.
    ``source`` names the recording in errors. Raises `DataError`.
    """
    done = flac_samples(target)
    if done is not None:
        return done
    try:
        samples = to_sample_rate(*decode())
    except (soundfile.SoundFileError, ValueError) as error:
        raise DataError(
            f"cannot decode {source}: {error}; delete the work folder and run again"
        ) from error
    if samples.size == 0 or not np.isfinite(samples).all():
        raise DataError(f"{source} has no usable samples (empty or not finite)")
    return write_flac(target, samples)


def to_sample_rate(samples: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """``[n]`` at ``sample_rate`` Hz to ``[m]`` at 16 kHz, kept within [-1, 1]."""
    if sample_rate != SAMPLE_RATE:
        samples = soxr.resample(samples, sample_rate, SAMPLE_RATE, quality="HQ")
    return np.clip(samples, -1.0, 1.0).astype(np.float32, copy=False)


def write_flac(target: Path, samples: NDArray[np.float32]) -> int:
    """Writes ``[m]`` at 16 kHz as 16-bit FLAC, all or nothing, and returns m."""
    # Coded in memory: soundfile reports a full disk as an error of its own, without the cause.
    coded = io.BytesIO()
    soundfile.write(coded, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    write_whole(target, coded.getvalue())
    return int(samples.size)


def flac_samples(path: Path) -> int | None:
    """Samples in a finished FLAC file of ours; None where there is no such file."""
    if not path.is_file():
        return None
    try:
        info = soundfile.info(path)
    except soundfile.SoundFileError:
        return None
    usable = info.samplerate == SAMPLE_RATE and info.channels == 1 and info.frames > 0
    return int(info.frames) if usable else None
