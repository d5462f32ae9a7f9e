"""Tux Paint stamps: picture captions read aloud by volunteers in many languages.

Layout: ``usr/share/tuxpaint/stamps/**/NAME_desc_<lang>.ogg`` with ``NAME.txt`` beside it, whose
first line is English and whose other lines are ``<lang>.utf8=caption``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from echostream.errors import DataError
from echostream.text import read_lines
from echostream.training.corpus.clip import Clip, collapse_spaces, file_id

STAMPS = "usr/share/tuxpaint/stamps"


@dataclass(frozen=True)
class TuxpaintReader:
    """Captions spoken in ``source`` with their text in ``target``."""

    source: str
    target: str
    speaker: str

    @property
    def packages(self) -> tuple[str, ...]:
        return ("tuxpaint-stamps-default",)

    def wanted(self, package: str, member: str) -> bool:
        return member.startswith(STAMPS + "/") and member.endswith((self._suffix, ".txt"))

    @property
    def _suffix(self) -> str:
        return f"_desc_{self.source}.ogg"

    def clips(self, roots: Mapping[str, Path]) -> list[Clip]:
        stamps = roots[self.packages[0]] / STAMPS
        recordings = {
            path.relative_to(stamps).as_posix().removesuffix(self._suffix): path
            for path in stamps.rglob("*" + self._suffix)
        }
        clips = []
        heard: set[str] = set()
        for stamp, path in sorted(recordings.items()):
            captions = read_captions(stamps / f"{stamp}.txt")
            src_text, tgt_text = captions.get(self.source, ""), captions.get(self.target, "")
            if not src_text or not tgt_text:
                continue
            # About 150 stamps share one recording; a copy may not sit on both sides of the split.
            digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            if digest in heard:
                continue
            heard.add(digest)
            seconds = duration(path)
            clips.append(Clip(file_id(stamp), path, seconds, self.speaker, src_text, tgt_text))
        return clips

    def decode(self, clip: Clip) -> tuple[NDArray[np.float32], int]:
        samples, sample_rate = soundfile.read(clip.path, dtype="float32", always_2d=True)
        mono: NDArray[np.float32] = samples.mean(axis=1, dtype=np.float32)
        return mono, int(sample_rate)


def duration(path: Path) -> float:
    """Seconds of an Ogg file, from its own header and last page."""
    try:
        return float(soundfile.info(path).duration)
    except soundfile.SoundFileError as error:
        raise DataError(
            f"cannot read the recording {path}: {error}; delete the work folder and run again"
        ) from error


def read_captions(path: Path) -> dict[str, str]:
    """Captions by language code; the first line is English. No file: no captions."""
    lines = read_lines(path, "captions") if path.exists() else []
    captions = {"en": collapse_spaces(lines[0])} if lines else {}
    for line in lines[1:]:
        key, equals, text = line.partition("=")
        if equals and key.endswith(".utf8"):
            captions[key.removesuffix(".utf8")] = collapse_spaces(text)
    return captions
