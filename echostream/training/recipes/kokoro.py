"""Speech by Kokoro-82M (Apache-2.0) on onnxruntime, with phonemes by espeak-ng.

Symbols: ``s`` phoneme symbols of a sentence, ``n`` samples at 24 kHz.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echostream.errors import DataError
from echostream.training.recipes.espeak import ask_espeak, find_espeak
from echostream.training.recipes.kokoro_packages import KOKORO, MODEL, VOCABULARY, VOICES, assemble
from echostream.training.recipes.synthesis import Manner, VoiceTable

SAMPLE_RATE_KOKORO = 24_000
MAX_SYMBOLS = 510
STYLE_SIZE = 256

VOICE_TABLES = {
    "es": VoiceTable(
        heard=(
            *("ef_dora", "em_alex", "em_santa", "if_sara", "im_nicola", "pf_dora"),
            *("ef_dora+af_heart", "ef_dora+bf_emma", "ef_dora+if_sara"),
            *("em_alex+am_michael", "em_alex+bm_george", "em_santa+am_fenrir"),
        ),
        held_out=("pm_alex", "ff_siwis", "am_adam"),
    ),
    "fr": VoiceTable(
        heard=(
            *("ff_siwis", "if_sara", "im_nicola", "em_santa", "pf_dora"),
            *("ff_siwis+am_michael", "ff_siwis+im_nicola", "ff_siwis+bm_george"),
            *("ff_siwis+af_heart", "ff_siwis+bf_emma", "im_nicola+am_fenrir"),
        ),
        held_out=("pm_alex", "ef_dora", "am_adam"),
    ),
    "en": VoiceTable(
        heard=(
            *("af_heart", "af_bella", "am_michael", "am_fenrir", "am_puck"),
            *("bf_emma", "bm_george", "bm_fable"),
            *("af_heart+bf_emma", "af_bella+am_puck", "am_michael+bm_george"),
        ),
        held_out=("am_adam", "af_sarah", "bm_lewis"),
    ),
}
"""Voices by language; ``a+b`` is the mean of two style tables."""

ESPEAK_VOICES = {"es": "es", "fr": "fr-fr", "en": "en-us"}

CLAUSE_MARKS = re.compile(r"([,;:.!?…—]+)")
SYMBOLS_OF_IPA = {"tʃ": "ʧ", "dʒ": "ʤ", "-": ""}
"""The model knows these affricates as one symbol each; espeak-ng links words by hyphens."""

ENGLISH_SYMBOLS = {
    **{"eɪ": "A", "aɪ": "I", "oʊ": "O", "aʊ": "W", "ɔɪ": "Y"},
    **{"ɚ": "əɹ", "ɜː": "ɜɹ", "r": "ɹ", "ː": ""},
}
"""In English diphthongs too, and no length marks: so were the model's American texts written."""


class Kokoro:
    """The engine Kokoro in one language, with its files in ``folder``.

    Raises `DataError` without onnxruntime or espeak-ng, or when the files cannot be had.
    """

    name = "kokoro"

    def __init__(self, language: str, folder: Path) -> None:
        if language not in VOICE_TABLES:
            raise DataError(
                f"no Kokoro voices are chosen for {language!r}; expected one of "
                f"{list(VOICE_TABLES)}"
            )
        self.voices = VOICE_TABLES[language]
        self._language = language
        self._program = find_espeak()
        try:
            onnxruntime: Any = importlib.import_module("onnxruntime")
        except ImportError as error:
            raise DataError(
                "the Python package onnxruntime, which runs Kokoro, is missing; install it with "
                '`pip install "echostream[synthetic]"`'
            ) from error
        singles = "+".join((*self.voices.heard, *self.voices.held_out)).split("+")
        self._folder = assemble(folder, singles)
        vocabulary = json.loads((self._folder / VOCABULARY).read_text(encoding="utf-8"))
        self._symbols: dict[str, int] = vocabulary["vocab"]
        options = onnxruntime.SessionOptions()
        # Several sentences are said at once instead; that scales better than threads in one.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(
            str(self._folder / MODEL), options, providers=["CPUExecutionProvider"]
        )
        self._style_of = lru_cache(maxsize=None)(self._read_voice)

    def fingerprint(self) -> Mapping[str, str]:
        """What the audio depends on besides the text and its manner."""
        return {"model": KOKORO.model_sha256, "voices": KOKORO.voices_sha256}

    def say(self, text: str, manner: Manner) -> tuple[NDArray[np.float32], int]:
        """Samples [n] at 24 kHz. The model has no pitch control: ``manner.pitch`` is not used.

        Raises `DataError` for a text without symbols, or with more than 510.
        """
        # What it has no symbol for is left out.
        ids = [self._symbols[c] for c in self.phonemes(text) if c in self._symbols]
        if not 1 <= len(ids) <= MAX_SYMBOLS:
            raise DataError(
                f"{text!r} has {len(ids)} phoneme symbols, expected 1 to {MAX_SYMBOLS}; "
                "give shorter sentences"
            )
        inputs = {
            "tokens": np.array([[0, *ids, 0]], dtype=np.int64),
            "style": self._style_of(manner.voice)[len(ids) - 1][None],
            "speed": np.array([manner.speed], dtype=np.float32),
        }
        outputs = self._session.run(None, inputs)
        return np.asarray(outputs[0], dtype=np.float32).reshape(-1), SAMPLE_RATE_KOKORO

    def phonemes(self, text: str) -> str:
        """IPA of a text with its punctuation; espeak-ng alone would drop the marks."""
        result = ""
        for clause in CLAUSE_MARKS.split(text):
            if CLAUSE_MARKS.fullmatch(clause):
                result = result.rstrip() + clause[0] + " "
            elif any(c.isalpha() for c in clause):
                result += self._ipa(clause.strip())
        return result.strip()

    def _ipa(self, clause: str) -> str:
        voice = ESPEAK_VOICES[self._language]
        asked = ("-q", "-b", "1", "--ipa", "-v", voice, "--stdin")
        ipa = re.sub(r"\([a-z-]+\)", "", ask_espeak(self._program, *asked, text=clause))
        ipa = " ".join(ipa.replace("_", "").split())
        english = ENGLISH_SYMBOLS if self._language == "en" else {}
        for sound, symbol in (*SYMBOLS_OF_IPA.items(), *english.items()):
            ipa = ipa.replace(sound, symbol)
        return ipa

    def _read_voice(self, voice: str) -> NDArray[np.float32]:
        styles = []
        for part in voice.split("+"):
            path = self._folder / VOICES / f"{part}.bin"
            values = np.fromfile(path, dtype="<f4")
            if values.size != MAX_SYMBOLS * STYLE_SIZE:
                raise DataError(
                    f"{path} holds {values.size} numbers, expected {MAX_SYMBOLS} x {STYLE_SIZE}; "
                    "delete it and run again"
                )
            styles.append(values.reshape(MAX_SYMBOLS, STYLE_SIZE))
        return np.mean(styles, axis=0, dtype=np.float32)
