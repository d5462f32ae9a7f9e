"""Tux Paint stamps: picture captions read aloud by volunteers in many languages.

Layout: ``usr/share/tuxpaint/stamps/**/NAME_desc_<lang>.ogg`` with ``NAME.txt`` beside it, whose
first line is English and whose other lines are ``<lang>.utf8=caption``.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echostream.text import read_lines
from echostream.training.corpus.clip import Clip, collapse_spaces, file_id, opened
from echostream.training.recipes.recipe import Corpus

STAMPS = "usr/share/tuxpaint/stamps"
SPEAKERS = {
    "ca": ("pere_pujal", "Catalan descriptions read by Pere Pujal i Carabantes"),
    "es": ("estefania_ortiz", "Spanish descriptions read by Estefania Ortiz"),
    "fr": ("paulk", "French descriptions read by PaulK"),
    "ro": ("tabbytha", "Romanian descriptions read by Tabbytha"),
}


@dataclass(frozen=True)
class Tuxpaint(Corpus):
    """Captions spoken in ``source``."""

    name = "tuxpaint"
    licence = "GPL-2.0-or-later"
    packages = ("tuxpaint-stamps-default",)

    @property
    def attribution(self) -> str:
        credit = SPEAKERS[self.source][1]
        return f"Tux Paint stamps. Copyright 2002-2022 Bill Kendrick and contributors; {credit}."

    @property
    def _suffix(self) -> str:
        return f"_desc_{self.source}.ogg"

    def wanted(self, package: str, member: str) -> bool:
        return member.startswith(STAMPS + "/") and member.endswith((self._suffix, ".txt"))

    def clips(self, roots: Mapping[str, Path]) -> list[Clip]:
        stamps = roots[self.packages[0]] / STAMPS
        recordings = {
            path.relative_to(stamps).as_posix().removesuffix(self._suffix): path
            for path in stamps.rglob("*" + self._suffix)
        }
        clips = {}
        for stamp, path in sorted(recordings.items()):
            captions = read_captions(stamps / f"{stamp}.txt")
            texts = captions.get(self.source, ""), captions.get(self.target, "")
            # About 150 stamps share one recording; a copy may not sit on both sides of the split.
            digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            if all(texts) and digest not in clips:
                with opened(path) as file:
                    seconds = file.frames / file.samplerate
                speaker = SPEAKERS[self.source][0]
                clips[digest] = Clip(file_id(stamp), path, seconds, speaker, *texts)
        return list(clips.values())

    def decode(self, path: Path) -> tuple[NDArray[np.float32], int]:
        with opened(path) as file:
            samples = file.read(dtype="float32", always_2d=True)
            return samples.mean(axis=1, dtype=np.float32), int(file.samplerate)


def read_captions(path: Path) -> dict[str, str]:
    """Captions by language code; the first line is English. No file: no captions."""
    lines = read_lines(path, "captions") if path.exists() else []
    captions = {"en": collapse_spaces(lines[0])} if lines else {}
    for line in lines[1:]:
        key, equals, text = line.partition("=")
        if equals and key.endswith(".utf8"):
            captions[key.removesuffix(".utf8")] = collapse_spaces(text)
    return captions
