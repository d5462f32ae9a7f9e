"""Sentences to synthetic speech: which are said, by whom, and the audio and rows of it.

The plan is made before anything is said and follows from the sentences alone; audio that is there
already is kept. A longer plan begins with the shorter one.

Symbols: ``n`` samples at the engine's own rate, ``m`` samples at 16 kHz.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

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
from echostream.training.corpus.split import Split, split_of
from echostream.training.recipes.parallel_text import SentencePair
from echostream.training.recipes.voices import Manner, VoiceTable, draw, draw_manner

logger = logging.getLogger(__name__)

LETTERS_PER_SECOND = 13.5
SILENCE_SECONDS = 0.3
"""Speech at speed 1 lasts about the silence plus letters by the rate; only the plan uses it."""

MAX_HELD_OUT_TEXTS = {"dev": 200, "test": 400}
"""Sentences of dev and test, however many hours are asked for."""

MAX_TAKES = 4
"""How often a training sentence may be said, each time by another voice or at another speed."""

PEAK = 0.7
MIN_PEAK = 0.005
"""Quieter than this an engine has said nothing."""


class Engine(Protocol):
    """A program or model that speaks one language."""

    @property
    def name(self) -> str:
        """Short name: the corpus in manifests and the folder of the audio."""
        ...

    @property
    def voices(self) -> VoiceTable: ...

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
    split: Split
    manner: Manner


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
            split = split_of(pair.english)
            if split != "train":
                if number > 0 or counts[split] >= MAX_HELD_OUT_TEXTS[split]:
                    continue
                counts[split] += 1
            name = pair.id if number == 0 else f"{pair.id}-{number + 1}"
            manner = draw_manner(engine, voices, name, split)
            takes.append(Take(name, pair, split, manner))
            if split == "train":
                left -= expected_seconds(pair.text(language), manner.speed)
    if left > 0:
        raise DataError(
            f"{len(pairs)} sentences said {MAX_TAKES} times each are {left / 60:.1f} min short of "
            f"{hours:g} h of training speech; ask for fewer --hours or name more --texts"
        )
    return takes


def expected_seconds(text: str, speed: float) -> float:
    """About how long a text takes to say."""
    letters = sum(character.isalnum() for character in text)
    return SILENCE_SECONDS + letters / (LETTERS_PER_SECOND * speed)


def synthesise(
    engine: Engine,
    takes: Sequence[Take],
    source: str,
    target: str,
    output: Path,
    jobs: int,
) -> list[ManifestRow]:
    """Says what is not there yet, under ``audio/ENGINE``; the rows of what is there then.

    A take that comes out silent, endless or cut short is left out and logged.
    """
    rows: list[ManifestRow] = []

    def speak(take: Take) -> int | None:
        return _say(engine, take, source, output)

    for take, size in in_parallel(speak, takes, jobs, f"speak {engine.name}", "sentence"):
        text = take.pair.text(source)
        if size is None:
            logger.warning("%s/%s left out: %r", engine.name, take.id, text)
            continue
        audio = _audio_of(engine, take)
        clip = Clip(
            id=take.id,
            path=output / audio,
            seconds=None,
            speaker=f"{engine.name}-{take.manner.voice}",
            src_text=text,
            tgt_text=take.pair.text(target),
            corpus=engine.name,
            split=take.split,
            src_lang=source,
            tgt_lang=target,
            licence=take.pair.licence,
        )
        rows.append(clip.row(audio, size))
    return rows


def _audio_of(engine: Engine, take: Take) -> str:
    return f"audio/{engine.name}/{take.id}.flac"


def _say(engine: Engine, take: Take, source: str, output: Path) -> int | None:
    path = output / _audio_of(engine, take)
    done = flac_samples(path)
    if done is not None:
        return done
    text = take.pair.text(source)
    samples, sample_rate = engine.say(text, take.manner)
    if samples.ndim != 1 or not np.isfinite(samples).all():
        raise DataError(f"{engine.name} gave samples of shape {samples.shape} or not finite")
    peak = float(np.abs(samples).max(initial=0.0))
    if peak < MIN_PEAK or not plausible_rate(text, samples.size / sample_rate):
        return None
    # Scaled first, so that resampling does not clip, and again, since it moves the peak.
    spoken = to_sample_rate(samples * np.float32(PEAK / peak / 2), sample_rate)
    return write_flac(path, spoken * np.float32(PEAK / np.abs(spoken).max()))
