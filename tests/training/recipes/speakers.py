"""A speech engine and the program espeak-ng, both made up: they say tones."""

import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echostream.training.recipes.synthesis import Manner, VoiceTable

VOICES = VoiceTable(heard=("ana", "ben", "ana+ben", "eva"), held_out=("x", "y", "z"))


class ToneEngine:
    """Says a text as a tone of 0.08 s a letter; remembers what it said."""

    name = "tone"
    voices = VOICES

    def __init__(self) -> None:
        self.said: list[tuple[str, Manner]] = []
        self.silent: set[str] = set()
        self.fail_after: int | None = None
        self._lock = threading.Lock()

    def fingerprint(self) -> Mapping[str, str]:
        return {"engine": "tone 1"}

    def say(self, text: str, manner: Manner) -> tuple[NDArray[np.float32], int]:
        with self._lock:
            if self.fail_after is not None and len(self.said) >= self.fail_after:
                raise KeyboardInterrupt
            self.said.append((text, manner))
        size = round(22_050 * (0.1 + 0.08 * sum(c.isalnum() for c in text)) / manner.speed)
        wave = 0.2 * np.sin(2 * np.pi * 300 * np.arange(size) / 22_050)
        return (0.0 if text in self.silent else 1.0) * wave.astype(np.float32), 22_050


ESPEAK = """#!{python} -IS
import pathlib, struct, sys
arguments = sys.argv[1:]
with (pathlib.Path({folder!r}) / "said").open("a") as log:
    print(" ".join(arguments), file=log)
if "--version" in arguments:
    print("eSpeak NG text-to-speech: {version}  Data at: /nowhere")
    sys.exit(0)
if "--voices=variant" in arguments:
    print("Pty Language Age/Gender VoiceName File Other")
    for name in {variants!r}:
        print(" 5  variant  --/M  " + name + "  !v/" + name)
    sys.exit(0)
text = sys.stdin.buffer.read().decode()
if "refuse" in text or "mb-us3" in arguments:
    print("Error: refused", file=sys.stderr)
    sys.exit(1)
if "--ipa" in arguments:
    sys.stdout.buffer.write((" " + text.replace("ch", "t\\u0283") + "\\n").encode())
    sys.exit(0)
if "-q" in arguments:
    sys.exit(0)
size = 1000 + 1700 * sum(c.isalnum() for c in text)
wave = 40 * struct.pack("<h", 8000) + 40 * struct.pack("<h", -8000)
data = (wave * (size // 80 + 1))[: 2 * size]
head = b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + struct.pack(
    "<IHHIIHH", 16, 1, 1, 22050, 44100, 2, 16) + b"data" + struct.pack("<I", len(data))
pathlib.Path(arguments[arguments.index("-w") + 1]).write_bytes(head + data)
"""


def write_espeak(folder: Path, variants: tuple[str, ...], version: str = "1.51") -> Path:
    """The program in ``folder``, which belongs in PATH; its calls are lines of ``said``."""
    folder.mkdir(parents=True, exist_ok=True)
    return write_program(folder / "espeak-ng", ESPEAK, variants=variants, version=version)


PICO = """#!{python} -IS
import pathlib, struct, sys
*options, text = sys.argv[1:]
output = options.pop(options.index("-w") + 1)
options.remove("-w")
(pathlib.Path({folder!r}) / "said").write_text(" ".join([*options, text]))
if "refuse" in text:
    print("Unsupported", file=sys.stderr)
    sys.exit(0)
head = b"RIFF" + struct.pack("<I", 36 + 8000) + b"WAVEfmt " + struct.pack(
    "<IHHIIHH", 16, 1, 1, 16000, 32000, 2, 16) + b"data" + struct.pack("<I", 8000)
pathlib.Path(output).write_bytes(head + bytes(8000))
"""


def write_program(path: Path, text: str, **values: object) -> Path:
    """An executable of this text with values in it."""
    filled = text.format(python=sys.executable, folder=str(path.parent), **values)
    path.write_text(filled, encoding="utf-8")
    path.chmod(0o755)
    return path
