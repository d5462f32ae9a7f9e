"""Speech by SVOX Pico (Debian's ``pico2wave``): one recorded voice a language, 150 times real time.

The voice is changed by Pico's own tags for tempo and pitch.
"""

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

VOICES = {
    "es": ("es-ES",),
    "fr": ("fr-FR",),
    "en": ("en-GB", "en-US"),
    "de": ("de-DE",),
    "it": ("it-IT",),
}
PITCH_RATIO = 1.45
"""A pitch of 1 is so many times the voice's own, of -1 that part of it: a man's to a child's."""


class Pico:
    """The engine SVOX Pico in one language; all voices are heard in training, none in tests.

    Raises `DataError` without the program or a voice.
    """

    name = "pico"

    def __init__(self, language: str) -> None:
        voices = of_language("SVOX Pico", VOICES, language)
        self.voices = VoiceTable(heard=voices, held_out=())
        self._program = find_program(
            "pico2wave",
            "install it with `apt-get install libttspico-utils` (as root, non-free section)",
        )

    def fingerprint(self) -> Mapping[str, str]:
        """What the audio depends on besides the text and its manner."""
        return {"program": "pico2wave", "pitch": f"{PITCH_RATIO}"}

    def say(self, text: str, manner: Manner) -> tuple[NDArray[np.float32], int]:
        """Samples [n] and their sample rate. Raises `DataError` when the program fails."""
        speed, pitch = (round(100 * x) for x in (manner.speed, PITCH_RATIO**manner.pitch))
        # It takes what looks like a tag for one.
        plain = re.sub("[<>&]", " ", text)
        tagged = f'<speed level="{speed}"><pitch level="{pitch}">{plain}</pitch></speed>'
        with tempfile.TemporaryDirectory(prefix="pico-") as folder:
            path = Path(folder) / "speech.wav"
            result = subprocess.run(
                [self._program, "-l", manner.voice, "-w", str(path), "--", tagged],
                capture_output=True,
            )
            try:
                samples, sample_rate = soundfile.read(path, dtype="float32")
            except soundfile.SoundFileError as error:
                said = result.stderr.decode(errors="replace").strip()
                raise DataError(f"pico2wave wrote no audio of {text!r}: {said or error}") from error
        return samples, int(sample_rate)
