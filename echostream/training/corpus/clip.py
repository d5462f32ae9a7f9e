"""A recording with its texts before it is converted, and the rules that drop one.

Symbols: ``n`` samples at the recording's own rate.
"""

import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from echostream.constants import SAMPLE_RATE
from echostream.errors import DataError
from echostream.training.corpus.manifest import COLUMNS, ManifestRow

MAX_LETTERS_PER_SECOND = 25.0
"""More than this cannot be spoken: the text has more in it than the recording."""
SLOWEST_LETTERS_PER_SECOND = 2.0
"""Slower than this, after `PAUSE_SECONDS`, the recording has more in it than the text."""
PAUSE_SECONDS = 4.0  # what silence, a sigh or a laugh around a short text may last


@dataclass(frozen=True)
class Clip:
    """One recording with its text in both languages; ``id`` is unique within the corpus and part.

    Args:
        path: the file, or an archive of many of which ``piece`` are the offset and number of bytes.
        seconds: length; None for all there is from ``start`` (s) on.
        channel: index of the channel that is heard; None for the mean of one or two.
        rate: sample rate (Hz) that the corpus gives; None where it gives none.
    """

    id: str
    path: Path
    seconds: float | None
    speaker: str
    src_text: str
    tgt_text: str
    corpus: str = ""
    split: str = ""
    src_lang: str = ""
    tgt_lang: str = ""
    licence: str = ""
    start: float = 0.0
    piece: tuple[int, int] | None = None
    channel: int | None = None
    rate: int | None = None

    def row(self, audio: str, num_samples: int) -> ManifestRow:
        """The manifest row, once ``audio`` holds it with ``num_samples`` at 16 kHz."""
        shared = {name: getattr(self, name) for name in COLUMNS if hasattr(self, name)}
        shared |= {"seconds": round(num_samples / SAMPLE_RATE, 4)}
        return ManifestRow(audio=audio, num_samples=num_samples, **shared)


@contextmanager
def opened(path: Path, piece: tuple[int, int] | None = None) -> Iterator[soundfile.SoundFile]:
    """A recording, or the piece of an archive that holds one. Raises `DataError`."""
    place = str(path) if piece is None else f"{path}:{piece[0]}:{piece[1]}"
    try:
        source = path if piece is None else io.BytesIO(piece_bytes(path, piece))
        with soundfile.SoundFile(source) as file:
            yield file
    except soundfile.SoundFileError as error:
        raise DataError(f"cannot read {place}: {error}; expected audio") from error


def piece_bytes(path: Path, piece: tuple[int, int], most: int | None = None) -> bytes:
    """The bytes of a piece of an archive, only the first ``most``. Raises `DataError`."""
    offset, length = piece
    wanted = length if most is None else min(length, most)
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(wanted)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    if len(data) != wanted:
        raise DataError(
            f"{path}:{offset}:{length} ends early: {len(data)} of {length} bytes are there"
        )
    return data


def read_clip(clip: Clip) -> tuple[NDArray[np.float32], int]:
    """Samples [n] of what the clip says, as one channel, and their rate in Hz.

    Raises `DataError` for a file that cannot be read, is shorter than the clip, has another rate
    than the corpus says, or more than two channels of which none is chosen.
    """
    with opened(clip.path, clip.piece) as file:
        rate, length = int(file.samplerate), file.frames
        start = round(clip.start * rate)
        size = length - start if clip.seconds is None else round(clip.seconds * rate)
        # Lengths in tables are rounded, and coders pad: a tenth of a second is nobody's word.
        if start >= length or start + size > length + rate // 10:
            raise DataError(
                f"{clip.path} ends at {length / rate:.2f} s, the segment {clip.id} "
                f"begins at {clip.start:.2f} s and ends at {(start + size) / rate:.2f} s"
            )
        if clip.rate not in (None, rate):
            raise DataError(
                f"{clip.path} has {rate} Hz; the corpus says {clip.rate} Hz of {clip.id}: mend the "
                "table or the recording"
            )
        channels = file.channels
        if clip.channel is None and channels > 2 or channels <= (clip.channel or 0):
            raise DataError(
                f"{clip.path} has {channels} channels, {clip.id} is on channel {clip.channel}; "
                "expected one or two, or the number of one that is there"
            )
        file.seek(start)
        samples = file.read(size, dtype="float32", always_2d=True)
    if clip.channel is None:
        return samples.mean(axis=1, dtype=np.float32), rate
    return np.ascontiguousarray(samples[:, clip.channel]), rate


def check_ids(where: str, clips: Iterable[Clip]) -> None:
    """Raises `DataError` when two clips would be written to one file."""
    counts = Counter((clip.corpus, clip.split, clip.id.casefold()) for clip in clips)
    repeated = sorted(name for (*_, name), count in counts.items() if count > 1)
    if repeated:
        raise DataError(
            f"{where}: {len(repeated)} ids stand for several recordings each, the first "
            f"is {repeated[0]!r}; expected one recording per id"
        )


def collapse_spaces(text: str) -> str:
    """The text with runs of white space (tabs and line ends too) as one space, none at the ends."""
    return " ".join(text.split())


def file_id(member: str) -> str:
    """A path inside a package as a name for one file: ``letters/a`` becomes ``letters_a``."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", member).strip("_")


def plausible_rate(text: str, seconds: float) -> bool:
    """Whether a text of this many letters and digits can take this long to say."""
    letters = sum(character.isalnum() for character in text)
    if letters == 0 or seconds <= 0:
        return False
    if letters / seconds > MAX_LETTERS_PER_SECOND:
        return False
    return seconds <= PAUSE_SECONDS + letters / SLOWEST_LETTERS_PER_SECOND
