"""Sentences to synthetic speech: which are said, by whom, and the audio and rows of it.

The plan is made before anything is said and follows from the sentences alone; audio that is there
already is kept. A longer plan begins with the shorter one. Nothing is drawn by a running generator:
the same sentence gets the same voice whatever was made before it.

Symbols: ``n`` samples at the engine's own rate, ``m`` samples at 16 kHz.
"""

import hashlib
import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from echostream.errors import DataError
from echostream.training.corpus.clip import Clip, plausible_rate
from echostream.training.corpus.conversion import (
    flac_samples,
    in_parallel,
    to_sample_rate,
    write_flac,
)
from echostream.training.corpus.manifest import ManifestRow
from echostream.training.recipes.parallel_text import SentencePair

logger = logging.getLogger(__name__)

Voices = TypeVar("Voices")

SPEEDS = (0.85, 1.2)  # tempo relative to the engine's own
PITCHES = (-1.0, 1.0)
"""Pitch within what the engine offers: 0 is the voice's own, -1 and 1 the ends used here."""
LETTERS_PER_SECOND = 13.5
SILENCE_SECONDS = 0.3
"""Speech at speed 1 lasts about the silence plus letters by the rate; only the plan uses it."""
MAX_HELD_OUT_TEXTS = {"dev": 200, "test": 400}
"""Sentences of dev and test, however many hours are asked for."""
MAX_TAKES = 4
"""How often a training sentence may be said, each time by another voice or at another speed."""
PEAK = 0.7
MIN_PEAK = 0.005  # quieter than this an engine has said nothing


@dataclass(frozen=True)
class VoiceTable:
    """Voices heard in train and dev, and those that only say test sentences, if there are any.

    A blend of voices is written ``a+b`` by the engines that can blend.
    """

    heard: tuple[str, ...]
    held_out: tuple[str, ...]

    def is_held_out(self, voice: str) -> bool:
        """Whether the voice, or one that it is blended of, only says test sentences."""
        apart = {part for name in self.held_out for part in name.split("+")}
        return not apart.isdisjoint(voice.split("+"))

    def of(self, split: str) -> tuple[str, ...]:
        """The voices that may speak in a split."""
        return self.held_out if split == "test" else self.heard


def of_language(engine: str, table: Mapping[str, Voices], language: str) -> Voices:
    """What an engine has for a language. Raises `DataError` if that is nothing."""
    if language not in table:
        raise DataError(f"{engine} has no voice for {language!r}; expected one of {[*table]}")
    return table[language]


@dataclass(frozen=True)
class Manner:
    """How one sentence is said: ``speed`` in `SPEEDS`, ``pitch`` in `PITCHES`."""

    voice: str
    speed: float
    pitch: float


class Engine(Protocol):
    """A program or model that speaks one language."""

    name: str
    """The corpus in manifests and the folder of the audio."""
    voices: VoiceTable

    def fingerprint(self) -> Mapping[str, str]:
        """What the audio depends on besides text and manner; other values, other audio."""
        ...

    def say(self, text: str, manner: Manner) -> tuple[NDArray[np.float32], int]:
        """Samples [n] in [-1, 1] and their rate in Hz. Called from several threads."""
        ...


@dataclass(frozen=True)
class Take:
    """One utterance to make."""

    id: str
    pair: SentencePair
    manner: Manner


def draw(*words: str) -> int:
    """A number of 256 bits that follows from the words alone."""
    return int.from_bytes(hashlib.sha256("\0".join(words).encode()).digest(), "big")


def draw_manner(engine: str, voices: VoiceTable, name: str, split: str) -> Manner:
    """The manner of the utterance ``name``: uniform over voices, speeds and pitches."""
    chance = random.Random(draw(engine, name))
    voice = chance.choice(voices.of(split))
    return Manner(voice, round(chance.uniform(*SPEEDS), 2), round(chance.uniform(*PITCHES), 2))


def plan(
    engine: str, voices: VoiceTable, pairs: Sequence[SentencePair], language: str, hours: float
) -> list[Take]:
    """About ``hours`` of training speech, and dev and test in proportion up to their limits.

    Raises `DataError` when the sentences do not suffice, said `MAX_TAKES` times each.
    """
    order = sorted(pairs, key=lambda pair: draw(engine, "order", pair.id))
    left = hours * 3600.0
    counts = {"dev": 0, "test": 0}
    takes: list[Take] = []
    for number in range(MAX_TAKES):
        for pair in order:
            if left <= 0:
                return takes
            if pair.split != "train":
                if number > 0 or counts[pair.split] >= MAX_HELD_OUT_TEXTS[pair.split]:
                    continue
                if not voices.of(pair.split):
                    continue
                counts[pair.split] += 1
            name = pair.id if number == 0 else f"{pair.id}-{number + 1}"
            manner = draw_manner(engine, voices, name, pair.split)
            takes.append(Take(name, pair, manner))
            if pair.split == "train":
                letters = sum(character.isalnum() for character in pair.text(language))
                left -= SILENCE_SECONDS + letters / (LETTERS_PER_SECOND * manner.speed)
    if left > 0:
        raise DataError(
            f"{len(pairs)} sentences said {MAX_TAKES} times each are {left / 60:.1f} min short of "
            f"{hours:g} h of training speech; ask for fewer --hours or name more --texts"
        )
    return takes


def spoken_clip(
    pair: SentencePair, path: Path, corpus: str, name: str, voice: str, source: str, target: str
) -> Clip:
    """The recording of a sentence that a voice says in ``source``."""
    return Clip(
        id=name,
        path=path,
        seconds=None,
        speaker=f"{corpus}-{voice}",
        src_text=pair.text(source),
        tgt_text=pair.text(target),
        corpus=corpus,
        split=pair.split,
        src_lang=source,
        tgt_lang=target,
        licence=pair.licence,
    )


def synthesise(
    engine: Engine, takes: Sequence[Take], source: str, target: str, output: Path, jobs: int
) -> list[ManifestRow]:
    """Says what is not there yet, under ``audio/ENGINE``; the rows of what is there then.

    A take that comes out silent, endless or cut short is left out and logged.
    """
    rows: list[ManifestRow] = []
    folder = f"audio/{engine.name}"

    def speak(take: Take) -> int | None:
        return _say(
            engine, take.pair.text(source), take.manner, output / folder / f"{take.id}.flac"
        )

    for take, size in in_parallel(speak, takes, jobs, f"speak {engine.name}", "sentence"):
        if size is None:
            logger.warning("%s/%s left out: %r", engine.name, take.id, take.pair.text(source))
            continue
        audio, voice = f"{folder}/{take.id}.flac", take.manner.voice
        clip = spoken_clip(take.pair, output / audio, engine.name, take.id, voice, source, target)
        rows.append(clip.row(audio, size))
    return rows


def _say(engine: Engine, text: str, manner: Manner, path: Path) -> int | None:
    done = flac_samples(path)
    if done is not None:
        return done
    samples, sample_rate = engine.say(text, manner)
    if samples.ndim != 1 or not np.isfinite(samples).all():
        raise DataError(f"{engine.name} gave samples of shape {samples.shape} or not finite")
    peak = float(np.abs(samples).max(initial=0.0))
    if peak < MIN_PEAK or not plausible_rate(text, samples.size / sample_rate):
        return None
    # Scaled first, so that resampling does not clip, and again, since it moves the peak.
    spoken = to_sample_rate(samples * np.float32(PEAK / peak / 2), sample_rate)
    return write_flac(path, spoken * np.float32(PEAK / np.abs(spoken).max()))
