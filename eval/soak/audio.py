"""The audio of a soak: speech, silence, noise, tones, clipped speech, in the forms hosts push.

Symbols: ``n`` samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from echostream.audio import read_audio
from echostream.constants import SAMPLE_RATE

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("speech", "silence", "noise", "tones", "clipped speech")

LONGEST_S = 240.0
"""Longest utterance."""


def find_speech(data: Path, limit: int = 60) -> list[NDArray[np.float32]]:
    """Recordings at 16 kHz: of a prepared corpus if there is one, or the project's clips."""
    paths = sorted((data / "audio").rglob("*.flac")) or sorted((ROOT / "eval/clips").glob("*.ogg"))
    step = max(1, len(paths) // limit)
    found = []
    for path in paths[::step][:limit]:
        samples, rate = read_audio(path)
        if rate != SAMPLE_RATE:
            samples = soxr.resample(samples, rate, SAMPLE_RATE)
        found.append(samples)
    return found


def make_audio(
    kind: str,
    speech: Sequence[NDArray[np.float32]],
    chance: np.random.Generator,
    longest_s: float = LONGEST_S,
) -> NDArray[np.float32]:
    """One utterance ``[n]`` at 16 kHz: seconds long, and now and then minutes."""
    short_s = min(12.0, longest_s)
    is_long = chance.random() < 0.04
    seconds = float(
        chance.uniform(short_s, longest_s) if is_long else chance.uniform(0.02, short_s)
    )
    length = max(1, round(seconds * SAMPLE_RATE))
    clock = np.arange(length) / SAMPLE_RATE
    if kind == "silence":
        samples = np.zeros(length)
    elif kind == "noise":
        samples = chance.normal(0, 10 ** chance.uniform(-4, -0.7), length)
    elif kind == "tones":
        samples = np.zeros(length)
        for pitch in chance.uniform(60, 1000, 4):
            beat = 0.5 + 0.5 * np.sin(2 * np.pi * chance.uniform(0.5, 3) * clock)
            samples += 0.2 * beat * np.sin(2 * np.pi * pitch * clock)
    else:
        parts: list[NDArray[np.float32]] = []
        while sum(map(len, parts)) < length:
            parts.append(speech[int(chance.integers(len(speech)))])
            parts.append(np.zeros(int(chance.integers(1, 16_000)), np.float32))
        samples = np.concatenate(parts)[:length].astype(np.float64)
        samples *= 10 ** chance.uniform(-1.5, 0.2)
        if kind == "clipped speech":
            samples = np.clip(samples * 20, -1, 1)
    clipped: NDArray[np.float32] = np.clip(samples, -1, 1).astype(np.float32)
    return clipped


def pushed_form(part: NDArray[np.float32], form: str, stereo: bool) -> Any:
    """A segment in one of the forms that hosts push."""
    if form == "int16":
        part = np.round(np.clip(part, -1, 1) * 32767).astype(np.int16)
    if stereo:
        part = np.stack((part, part), axis=1)
    return part.tolist() if form == "list" else part
