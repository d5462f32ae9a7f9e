"""Asterisk core sounds: telephone prompts recorded in several languages under the same ids.

Layout: ``usr/share/asterisk/sounds/<voice>/<id>.g722`` (64 kbit/s, 16 kHz) in the sound package and
``usr/share/doc/asterisk-core-sounds-<lang>/core-sounds-<lang>.txt.gz`` with lines ``id: text``.
"""

import gzip
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from echostream.errors import DataError
from echostream.training.corpus.clip import Clip, collapse_spaces, file_id
from echostream.training.recipes.recipe import Corpus

SAMPLE_RATE_G722 = 16_000
VOICES = {
    "en": ("en_US_f_Allison", "Allison Smith (http://www.theivrvoice.com)"),
    "es": ("es_MX_f_Allison", "Allison Smith (http://www.theivrvoice.com)"),
    "fr": ("fr_CA_f_June", "June Wallack"),
}
"""Folder and copyright holder of the prompts by language."""


@dataclass(frozen=True)
class Asterisk(Corpus):
    """Prompts spoken in ``source``."""

    name = "asterisk"
    licence = "CC-BY-SA-3.0"
    suffix = ".g722"
    # G.722 puts two samples in one byte.
    bytes_per_second = SAMPLE_RATE_G722 / 2

    @property
    def attribution(self) -> str:
        holder = VOICES[self.source][1]
        return f"Asterisk core sounds. Copyright 2003-2010 {holder}, financed by Digium, Inc."

    @property
    def voice(self) -> str:
        """Folder of the recordings, named after who speaks."""
        return VOICES[self.source][0]

    @property
    def packages(self) -> tuple[str, ...]:
        languages = (f"{self.source}-g722", self.source, self.target)
        return tuple(f"asterisk-core-sounds-{language}" for language in languages)

    def wanted(self, package: str, member: str) -> bool:
        if package == self.packages[0]:
            return member.endswith(self.suffix) and "/silence/" not in member
        return Path(member).name == f"core-sounds-{package.rsplit('-', 1)[1]}.txt.gz"

    def clips(self, roots: Mapping[str, Path]) -> list[Clip]:
        sounds = roots[self.packages[0]] / "usr/share/asterisk/sounds" / self.voice
        texts = []
        for package, language in zip(self.packages[1:], (self.source, self.target), strict=True):
            folder = roots[package] / "usr/share/doc" / package
            texts.append(read_transcript(folder / f"core-sounds-{language}.txt.gz"))
        clips = []
        for path in sorted(sounds.rglob(f"*{self.suffix}")):
            prompt = path.relative_to(sounds).with_suffix("").as_posix()
            src_text, tgt_text = (spoken_text(lines.get(prompt, "")) for lines in texts)
            if not prompt.startswith("silence/") and src_text and tgt_text:
                seconds = path.stat().st_size / self.bytes_per_second
                clips.append(Clip(file_id(prompt), path, seconds, self.voice, src_text, tgt_text))
        return clips

    def decode(self, path: Path) -> tuple[NDArray[np.float32], int]:
        import G722  # of the extra "train", which `progress` asks for

        decoder = G722.G722(SAMPLE_RATE_G722, 64_000)
        pcm = np.asarray(decoder.decode(path.read_bytes()), dtype=np.float32)
        return pcm / np.float32(32768.0), SAMPLE_RATE_G722


@dataclass(frozen=True)
class AsteriskColombia(Asterisk):
    """The same prompts by a Colombian voice, for tests: nothing is trained on this speaker.

    Layout: ``usr/share/asterisk/sounds/es/<id>.gsm`` (GSM 06.10 at 8 kHz). The texts are those of
    the core sounds with the same ids, from which the Spanish that is said may differ in a word.
    """

    name = "asterisk-co"
    licence = "GPL-2"
    attribution = "Asterisk prompts in Colombian Spanish. Copyright Avatar Ltda., July E. Jiménez."
    suffix = ".gsm"
    # 33 bytes for 20 ms.
    bytes_per_second = 1650.0
    voice = "es"

    @property
    def packages(self) -> tuple[str, ...]:
        return ("asterisk-prompt-es-co", *super().packages[1:])

    def decode(self, path: Path) -> tuple[NDArray[np.float32], int]:
        samples, rate = soundfile.read(
            path, dtype="float32", samplerate=8000, channels=1, format="RAW", subtype="GSM610"
        )
        return samples, int(rate)


@dataclass(frozen=True)
class AsteriskItaly(Asterisk):
    """The core sounds in Italian, for tests: nothing is trained on this speaker."""

    name = "asterisk-it"
    licence = "CC-BY-3.0"
    attribution = "Asterisk core sounds. Copyright 2012 Carlo Flora (http://www.carloflora.com)."
    voice = "it_IT_m_Carlo"


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
        if colon and not line.startswith(";"):
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
