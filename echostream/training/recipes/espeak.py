"""Speech by the Debian program espeak-ng: rule-based, small, hundreds of times real time."""

import itertools
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from echostream.errors import DataError
from echostream.training.recipes.programs import find_program
from echostream.training.recipes.synthesis import Manner, VoiceTable, of_language

WORDS_PER_MINUTE = 165  # tempo at speed 1

MIDDLE_PITCH, PITCH_RANGE = 50, 20
"""espeak-ng's pitch runs from 0 to 99; drawn from 30 to 70."""
ACCENTS = {
    "es": ("es", "es-419"),
    "fr": ("fr", "fr-be", "fr-ch"),
    "en": ("en-us", "en-gb", "en-gb-x-rp"),
}
HEARD_VARIANTS = (
    *("m1", "m2", "m3", "m4", "m5", "m6", "m8", "f1", "f2", "f4", "f5"),
    *("Andrea", "Annie", "Mario", "belinda", "linda", "miguel", "pablo"),
)
HELD_OUT_VARIANTS = ("f3", "m7", "Alicia")  # never heard in train or dev, in no accent


def find_espeak() -> str:
    """The program; `DataError` where it is not installed."""
    return find_program("espeak-ng", "install it with `apt-get install espeak-ng` (as root)")


def ask_espeak(program: str, *arguments: str, text: str = "") -> str:
    """What espeak-ng prints, given a text. Raises `DataError` when it fails."""
    result = subprocess.run([program, *arguments], input=text.encode(), capture_output=True)
    if result.returncode != 0:
        said = result.stderr.decode(errors="replace").strip()
        raise DataError(f"espeak-ng {' '.join(arguments)} failed: {said or 'it said nothing'}")
    return result.stdout.decode(errors="replace")


class Espeak:
    """The engine espeak-ng in one language; a voice is written ``accent/variant``.

    Raises `DataError` without the program or a voice.
    """

    name = "espeak"

    def __init__(self, language: str) -> None:
        accents = of_language("espeak-ng", ACCENTS, language)
        held_out = zip(itertools.cycle(accents), HELD_OUT_VARIANTS, strict=False)
        self.voices = VoiceTable(
            heard=tuple(f"{accent}/{variant}" for accent in accents for variant in HEARD_VARIANTS),
            held_out=tuple(map("/".join, held_out)),
        )
        self._program = find_espeak()
        # A variant that espeak-ng does not know is replaced by the plain voice without a word.
        listed = ask_espeak(self._program, "--voices=variant")
        known = set(re.findall(r"!v/(\S+)", listed))
        missing = sorted({*HEARD_VARIANTS, *HELD_OUT_VARIANTS} - known)
        if missing:
            raise DataError(
                f"{self.version} lacks the voice variants {', '.join(missing)}; "
                "install the package espeak-ng-data of Debian 12 or later"
            )

    @property
    def version(self) -> str:
        """The program with its version, such as "espeak-ng 1.51"."""
        found = re.search(r"text-to-speech:\s*(\S+)", ask_espeak(self._program, "--version"))
        return f"espeak-ng {found[1] if found else 'of unknown version'}"

    def fingerprint(self) -> Mapping[str, str]:
        """What the audio depends on besides the text and its manner."""
        return {"program": self.version, "tempo": f"{WORDS_PER_MINUTE}"}

    def say(self, text: str, manner: Manner) -> tuple[NDArray[np.float32], int]:
        """Samples [n] and their sample rate. Raises `DataError` when the program fails."""
        with tempfile.TemporaryDirectory(prefix="espeak-") as folder:
            path = Path(folder) / "speech.wav"
            ask_espeak(
                self._program,
                *("-b", "1", "-v", manner.voice.replace("/", "+"), "-w", str(path), "--stdin"),
                *("-s", str(round(WORDS_PER_MINUTE * manner.speed))),
                *("-p", str(round(MIDDLE_PITCH + PITCH_RANGE * manner.pitch))),
                text=text,
            )
            try:
                samples, sample_rate = soundfile.read(path, dtype="float32")
            except soundfile.SoundFileError as error:
                raise DataError(f"espeak-ng wrote no audio of {text!r}: {error}") from error
        return samples, int(sample_rate)
