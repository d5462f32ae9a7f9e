"""Asterisk core sounds: telephone prompts recorded in several languages under the same ids.

Layout: ``usr/share/asterisk/sounds/<voice>/<id>.g722`` (64 kbit/s, 16 kHz) in the sound package and
``usr/share/doc/asterisk-core-sounds-<lang>/core-sounds-<lang>.txt.gz`` with lines ``id: text``.
"""

from __future__ import annotations

import gzip
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echostream.errors import DataError
from echostream.training.corpus.clip import Clip, collapse_spaces, file_id

logger = logging.getLogger(__name__)

G722_SAMPLE_RATE = 16_000
G722_BITS_PER_SECOND = 64_000
SAMPLES_PER_BYTE = 2
"""G.722 at 64 kbit/s codes two samples in one byte."""


@dataclass(frozen=True)
class AsteriskReader:
    """Prompts in ``source`` (a language code of the package names) with text in ``target``."""

    source: str
    target: str
    voice: str

    @property
    def packages(self) -> tuple[str, ...]:
        return (
            f"asterisk-core-sounds-{self.source}-g722",
            f"asterisk-core-sounds-{self.source}",
            f"asterisk-core-sounds-{self.target}",
        )

    def wanted(self, package: str, member: str) -> bool:
        if package == self.packages[0]:
            return member.endswith(".g722") and "/silence/" not in member
        return Path(member).name == f"core-sounds-{package.rsplit('-', 1)[1]}.txt.gz"

    def clips(self, roots: Mapping[str, Path]) -> list[Clip]:
        sounds = roots[self.packages[0]] / "usr/share/asterisk/sounds" / self.voice
        src_texts = read_transcript(transcript_path(roots[self.packages[1]], self.source))
        tgt_texts = read_transcript(transcript_path(roots[self.packages[2]], self.target))
        clips = []
        for path in sorted(sounds.rglob("*.g722")):
            prompt = path.relative_to(sounds).with_suffix("").as_posix()
            src_text = spoken_text(src_texts.get(prompt, ""))
            tgt_text = spoken_text(tgt_texts.get(prompt, ""))
            if prompt.startswith("silence/") or not src_text or not tgt_text:
                continue
            seconds = path.stat().st_size * SAMPLES_PER_BYTE / G722_SAMPLE_RATE
            clips.append(Clip(file_id(prompt), path, seconds, self.voice, src_text, tgt_text))
        return clips

    def decode(self, clip: Clip) -> tuple[NDArray[np.float32], int]:
        try:
            import G722
        except ImportError as error:
            raise DataError(
                "the Python package G722, which decodes Asterisk prompts, is missing; "
                'install it with `pip install "echostream[train]"`'
            ) from error
        decoder = G722.G722(G722_SAMPLE_RATE, G722_BITS_PER_SECOND)
        pcm = np.asarray(decoder.decode(clip.path.read_bytes()), dtype=np.float32)
        return pcm / np.float32(32768.0), G722_SAMPLE_RATE


def transcript_path(root: Path, language: str) -> Path:
    """Where the unpacked package keeps the transcript of a language."""
    package = f"asterisk-core-sounds-{language}"
    return root / "usr/share/doc" / package / f"core-sounds-{language}.txt.gz"


def read_transcript(path: Path) -> dict[str, str]:
    """Prompt ids and their lines. The first of two lines for one id holds: ``digits/0`` stands
    twice in the Spanish list, the second time by mistake for ``digits/10``."""
    try:
        lines = gzip.decompress(path.read_bytes()).decode("utf-8").splitlines()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(
            f"cannot read the Asterisk transcript {path}: {error}; expected gzip-compressed UTF-8; "
            "delete the work folder and run the recipe again"
        ) from error
    texts: dict[str, str] = {}
    for line in lines:
        prompt, colon, text = line.partition(":")
        if line.startswith(";") or not colon:
            continue
        texts.setdefault(prompt.strip(), text.strip())
    return texts


def spoken_text(text: str) -> str:
    """What is said. Marks such as ``[@]`` are removed and a bracketed word inside a sentence is
    kept. Nothing is left of an entry that only describes a sound (``[ascending tones]``), or that
    has a note in round or angle brackets: notes say where recording and text differ."""
    text = collapse_spaces(text)
    if re.fullmatch(r"\[.*\]", text) or re.search(r"[(<]", text):
        return ""
    text = re.sub(r"\[[^\w\]]*\]", " ", text)
    return collapse_spaces(text.replace("[", " ").replace("]", " "))
