"""Speech by MBROLA: diphones of recorded people, told by espeak-ng what to say.

The voices are free to copy, not to sell, "with and only with the MBROLA program" (Debian's
``mbrola-es1`` and its like, non-free section).
"""

from echostream.errors import DataError
from echostream.training.recipes.espeak import Espeak, ask_espeak, find_espeak
from echostream.training.recipes.synthesis import VoiceTable, of_language

PEOPLE = {
    "es": ("es1", "es2", "es3", "es4", "mx1", "mx2", "vz1"),
    "fr": ("fr1", "fr2", "fr3", "fr4", "fr5", "fr6", "fr7"),
    "en": ("en1", "us1", "us2", "us3"),
}


class Mbrola(Espeak):
    """The engine MBROLA in one language; all voices are heard in training, none in tests.

    Raises `DataError` without espeak-ng, MBROLA or a voice.
    """

    name = "mbrola"

    def __init__(self, language: str) -> None:
        people = of_language("MBROLA", PEOPLE, language)
        self._program = find_espeak()
        self.voices = VoiceTable(heard=tuple(f"mb-{own}" for own in people), held_out=())
        for voice in self.voices.heard:
            try:
                ask_espeak(self._program, "-q", "-v", voice, "--stdin", text="a")
            except DataError as error:
                packages = " ".join(f"mbrola-{own}" for own in people)
                raise DataError(
                    f"the voice {voice} is not installed; install MBROLA's with `apt-get install "
                    f"mbrola {packages}` (as root, non-free section)"
                ) from error
