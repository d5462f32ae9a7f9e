"""A recording as it lies in a package, before it is converted, and the rules that drop one.

Symbols: ``n`` samples of a clip at its own sample rate.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

MAX_LETTERS_PER_SECOND = 25.0
"""More than this cannot be spoken: the text has more in it than the recording."""

SLOWEST_LETTERS_PER_SECOND = 2.0
"""Slower than this, after `PAUSE_SECONDS`, the recording has more in it than the text."""

PAUSE_SECONDS = 4.0
"""What silence, a sigh or a laugh around a short text may last."""


@dataclass(frozen=True)
class Clip:
    """One recording with its text in both languages.

    ``path`` is the file inside the unpacked package, ``seconds`` its length as the file's header
    or size tells it, ``id`` unique within the corpus and fit for a file name.
    """

    id: str
    path: Path
    seconds: float
    speaker: str
    src_text: str
    tgt_text: str


class CorpusReader(Protocol):
    """Knows the layout of one corpus."""

    @property
    def packages(self) -> tuple[str, ...]:
        """Debian packages that hold the corpus."""
        ...

    def wanted(self, package: str, member: str) -> bool:
        """Whether the member of the package (path without a leading ``./``) is read."""
        ...

    def clips(self, roots: Mapping[str, Path]) -> list[Clip]:
        """All recordings with text on both sides, sorted; ``roots`` are unpacked packages."""
        ...

    def decode(self, clip: Clip) -> tuple[NDArray[np.float32], int]:
        """Samples ``[n]`` in [-1, 1] and their sample rate in Hz."""
        ...


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


def usable(clips: Iterable[Clip]) -> tuple[list[Clip], list[Clip]]:
    """Clips whose text is there and goes with their length, and those dropped."""
    kept: list[Clip] = []
    dropped: list[Clip] = []
    for clip in clips:
        fits = clip.tgt_text != "" and plausible_rate(clip.src_text, clip.seconds)
        (kept if fits else dropped).append(clip)
    return kept, dropped
