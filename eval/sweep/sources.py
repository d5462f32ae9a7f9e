"""The recordings and references of an evaluation, as SimulEval's speech-to-text loader has them.

Symbols: ``N`` samples of a recording, at its own rate ``r`` in Hz.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from echostream.audio.files import read_audio
from echostream.errors import AudioFormatError, ConfigError, DataError
from echostream.text import read_lines
from echostream.whole_file import sha256_of
from eval.command import progress


@dataclass(frozen=True)
class Source:
    """One line of the lists."""

    index: int
    """Position in the list, from 0."""
    path: str
    """As the list has it."""
    reference: str
    """Without white space at its ends."""
    info: tuple[str, ...]
    """How ``soundfile.info`` describes the file, line by line; SimulEval puts it into its log."""
    sample_rate: int
    num_samples: int
    content: str
    """Digest of the file's bytes."""

    @property
    def length_ms(self) -> float:
        """Duration."""
        return self.ms(self.num_samples)

    def ms(self, samples: int) -> float:
        """SimulEval's delay after so many samples, to the last bit."""
        return samples * 1000 / self.sample_rate


def segment_samples(sample_rate: int, segment_ms: int) -> int:
    """Samples of a segment as SimulEval 1.1.4 sends it; ConfigError if it is not at least 1 ms.

    They are rounded up, so that at some rates segments drift away from multiples of ``segment_ms``.
    """
    if segment_ms < 1:
        raise ConfigError(
            f"the source segment size is {segment_ms} ms; expected at least 1, 320 is usual"
        )
    return math.ceil(segment_ms / 1000 * sample_rate)


def cuts(num_samples: int, sample_rate: int, segment_ms: int) -> Iterator[tuple[int, int]]:
    """Begin and end of the segments of a recording, for ``N >= 1``."""
    size = segment_samples(sample_rate, segment_ms)
    for start in range(0, num_samples, size):
        yield start, min(start + size, num_samples)


def read_list(path: str | Path) -> list[str]:
    """The lines of a list, without white space at their ends, as SimulEval takes them.

    Raises:
        DataError: if the file cannot be read or holds no lines.
    """
    lines = [line.strip() for line in read_lines(Path(path))]
    if not lines:
        raise DataError(f"{path}: is empty; expected one entry a line")
    return lines


def read_sources(wav_list: str | Path, references: str | Path) -> list[Source]:
    """All recordings, each read once from end to end so that a bad one is known beforehand.

    Paths are taken as SimulEval takes them: relative to the working directory.

    Raises:
        DataError: if a list cannot be read or the two differ in length.
        AudioFormatError: if a recording is missing, damaged or empty; the message names it and
            its line.
    """
    paths, texts = read_list(wav_list), read_list(references)
    if len(paths) != len(texts):
        raise DataError(
            f"{wav_list} has {len(paths)} lines and {references} has {len(texts)}; expected one "
            "reference for each recording"
        )
    sources = []
    for index, path in enumerate(progress(paths, len(paths), "reading recordings")):
        try:
            samples, rate = read_audio(path)
        except AudioFormatError as error:
            raise AudioFormatError(f"{wav_list}, line {index + 1}: {error}") from error
        info = tuple(str(soundfile.info(path)).split("\n"))
        content = sha256_of(path)
        sources.append(Source(index, path, texts[index], info, rate, len(samples), content))
    return sources


def read_samples(source: Source) -> NDArray[np.float32]:
    """``[N]``, or ``[N, channels]``: what SimulEval reads.

    Raises:
        DataError: if the file is not the one it was.
    """
    try:
        if sha256_of(source.path) == source.content:
            samples: NDArray[np.float32] = soundfile.read(source.path, dtype="float32")[0]
            return samples
    except (OSError, soundfile.SoundFileError):
        pass
    raise DataError(
        f"{source.path}: was changed or removed while it was being encoded; expected the file "
        "that was read at the start; run the command again"
    )
