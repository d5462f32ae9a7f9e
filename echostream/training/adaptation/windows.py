"""Windows of mixed speech to adapt on: several recordings in a row, changed as microphones do.

No transcripts are needed, so any folder of recordings will do. A window is the same for the same
seed and number, in whatever process or resumed run it is made.

Symbols: ``n`` samples at 16 kHz.
"""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from echostream.audio import read_audio
from echostream.constants import SAMPLE_RATE
from echostream.errors import AudioFormatError, DataError
from echostream.training.augment import Augmentation, augment, change_voice, within_scale
from echostream.training.corpus.manifest import MANIFEST, read_manifest
from echostream.training.features import seed_of

logger = logging.getLogger(__name__)

Samples = NDArray[np.float32]

WINDOW_SAMPLES = 30 * SAMPLE_RATE
"""Whisper's window."""

SUFFIXES = (".flac", ".mp3", ".oga", ".ogg", ".opus", ".wav")

_HELD_OUT = 60
"""One of so many recordings is kept for the held-out error."""
_PAUSES = (0.05, 0.2, 0.4, 0.9)
"""Mean length in seconds of the pause between two recordings, drawn for each."""
_END_CHANCE = 0.03
"""That a recording is the last of its window; silence follows."""
_LATE_CHANCE = 0.15
"""That speech begins up to half a window late."""
_CUT_CHANCE = 0.3
"""That a window begins in the middle of a recording."""
_ALONE_CHANCE = 0.5
"""That a window of recordings with texts has one recording, as most streams of a test do."""
_ALONE_AFTER = (0.1, 1.5)
"""Seconds that are heard after it."""
_ROOM_CHANCE = 0.25
_TELEPHONE_CHANCE = 0.2

_MOST_TRIES = 1000
"""Recordings that are tried in a row before none is taken to be of use."""

_OTHER_VOICES = (0.84, 1.22)
"""Range of speed and pitch together: other speakers."""
_MICROPHONE = Augmentation(
    speed_chance=0.0,
    pitch_chance=0.0,
    high_chance=0.3,
    low_chance=0.3,
    colour_chance=0.4,
    snr=(8.0, 40.0),
    noise_chance=0.5,
)


@dataclass(frozen=True)
class Spoken:
    """A recording in a window."""

    path: Path
    begin: int
    """Sample of the window."""
    end: int
    is_whole: bool
    """Whether nothing of it is cut off."""


@dataclass(frozen=True, eq=False)
class Window:
    """Mixed speech, and what is spoken in it."""

    samples: Samples
    """``[480000]``."""
    spoken: tuple[Spoken, ...]
    end: int
    """Sample after which a stream of it ends."""
    clean: Samples
    """``[480000]`` without telephone, room and noise."""


@dataclass(frozen=True)
class Recordings:
    """What there is to adapt on, and what is held out."""

    train: tuple[tuple[Path, ...], ...]
    """By folder, so that a large folder does not drown the others."""
    held_out: tuple[tuple[Path, ...], ...]


def find_recordings(folders: Sequence[Path], leave_out: Sequence[str] = ()) -> Recordings:
    """The recordings in some folders.

    Args:
        folders: with ``manifest.tsv``, of which the training part is taken, or any audio files.
        leave_out: corpora of a manifest that are left out.

    Raises:
        DataError: for a folder without recordings, or an unknown corpus.
    """
    train, held_out = [], []
    corpora: set[str] = set()
    for folder in folders:
        if (folder / MANIFEST).exists():
            rows = read_manifest(folder / MANIFEST)
            corpora |= {row.corpus for row in rows}
            rows = [row for row in rows if row.split == "train" and row.corpus not in leave_out]
            paths = [folder / row.audio for row in rows]
        else:
            paths = [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES]
        if not paths:
            raise DataError(
                f"{folder} has no recordings; expected {MANIFEST} with a training part, or files "
                f"that end in {', '.join(SUFFIXES)}"
            )
        ranked = sorted(paths, key=_number_of)
        held = set(ranked[: -(-len(ranked) // _HELD_OUT)] if len(ranked) > 1 else ())
        train.append(tuple(sorted(set(paths) - held)))
        held_out.append(tuple(sorted(held)))
    if unknown := set(leave_out) - corpora:
        raise DataError(
            f"there is no corpus {', '.join(sorted(unknown))} to leave out; expected one of "
            f"{', '.join(sorted(corpora))}"
        )
    if not any(held_out):
        raise DataError(
            f"{folders[0]} has one recording; expected at least two, of which one is held out"
        )
    return Recordings(tuple(train), tuple(part for part in held_out if part))


class WindowMaker:
    """Makes windows ``[480000]`` of recordings.

    Args:
        groups: recordings by folder; a folder is drawn as often as the root of its size says.
        seed: of the run.
        with_texts: whether what is said in a window must be known: its recordings are of one
            group, none is cut at its beginning, and half of the windows have one alone.
    """

    def __init__(
        self, groups: Sequence[Sequence[Path]], seed: int, *, with_texts: bool = False
    ) -> None:
        self._with_texts = with_texts
        self._groups = [tuple(group) for group in groups]
        weights = np.sqrt([len(group) for group in self._groups])
        self._weights = weights / weights.sum()
        self._seed = seed

    def __call__(self, number: int) -> Samples:
        """The samples of the window of that number."""
        return self.window(number).samples

    def window(self, number: int) -> Window:
        """The window of that number."""
        chance = np.random.default_rng(seed_of(self._seed, "window", number))
        samples = np.zeros(WINDOW_SAMPLES, np.float32)
        spoken: list[Spoken] = []
        end = WINDOW_SAMPLES
        at = int(chance.integers(SAMPLE_RATE // 2))
        if chance.random() < _LATE_CHANCE:
            at = int(chance.integers(WINDOW_SAMPLES // 2))
        cut = not self._with_texts and chance.random() < _CUT_CHANCE
        alone = self._with_texts and chance.random() < _ALONE_CHANCE
        group = self._group(chance)
        while at < WINDOW_SAMPLES - SAMPLE_RATE // 2:
            path, clip = self._clip(group, chance)
            if not self._with_texts:
                group = self._group(chance)
            if cut:
                clip, at, cut = clip[int(chance.integers(max(1, clip.size // 2))) :], 0, False
            whole = clip.size <= WINDOW_SAMPLES - at
            clip = clip[: WINDOW_SAMPLES - at]
            samples[at : at + clip.size] += clip
            spoken.append(Spoken(path, at, at + clip.size, whole))
            pause = chance.choice(_PAUSES) * 2 * chance.random()
            at += clip.size + int(pause * SAMPLE_RATE)
            if alone:
                after = int(chance.uniform(*_ALONE_AFTER) * SAMPLE_RATE)
                end = min(end, spoken[0].end + after)
            if alone or chance.random() < _END_CHANCE:
                break
        clean = samples
        if chance.random() < _TELEPHONE_CHANCE:
            samples = _telephone(samples)
        if chance.random() < _ROOM_CHANCE:
            samples = _room(samples, chance)
        samples = augment(samples, chance, _MICROPHONE)[:WINDOW_SAMPLES]
        return Window(samples, tuple(spoken), end, clean)

    def _group(self, chance: np.random.Generator) -> tuple[Path, ...]:
        return self._groups[int(chance.choice(len(self._groups), p=self._weights))]

    def _clip(self, group: Sequence[Path], chance: np.random.Generator) -> tuple[Path, Samples]:
        for _ in range(_MOST_TRIES):
            path = group[int(chance.integers(len(group)))]
            try:
                samples, rate = read_audio(path)
            except AudioFormatError as error:
                logger.warning("left out: %s", error)
                continue
            samples = soxr.resample(samples, rate, SAMPLE_RATE).astype(np.float32, copy=False)
            if samples.size < 0.3 * SAMPLE_RATE:
                continue
            if chance.random() < 0.7:
                samples = change_voice(
                    samples, round(float(chance.uniform(*_OTHER_VOICES)), 2), 0.0
                )
            peak = float(np.abs(samples).max()) + 1e-6
            return path, samples * np.float32(10.0 ** (chance.uniform(-14.0, -1.0) / 20.0) / peak)
        raise DataError(
            f"{_MOST_TRIES} recordings in a row cannot be used, the last is {path}; expected audio "
            "of at least 0.3 s in most files"
        )


def _telephone(samples: Samples) -> Samples:
    """8 kHz, eight bits by mu-law (ITU-T G.711)."""
    narrow = soxr.resample(soxr.resample(samples, SAMPLE_RATE, 8000), 8000, SAMPLE_RATE)
    narrow = np.clip(narrow[: samples.size], -1.0, 1.0)
    narrow = np.pad(narrow, (0, samples.size - narrow.size))
    companded = np.round(np.sign(narrow) * np.log1p(255 * np.abs(narrow)) / np.log(256) * 127) / 127
    expanded = np.sign(companded) * (256 ** np.abs(companded) - 1) / 255
    return np.asarray(expanded, np.float32)


def _room(samples: Samples, chance: np.random.Generator) -> Samples:
    """A direct sound, then noise that dies away as in a room of 0.1 to 0.5 s of reverberation."""
    times = np.arange(SAMPLE_RATE // 4) / SAMPLE_RATE
    response = chance.standard_normal(times.size) * np.exp(-times / chance.uniform(0.02, 0.07))
    response[0] = 6.0
    response /= np.sqrt(np.sum(response**2))
    size = 1 << (samples.size + response.size - 1).bit_length()
    spectrum = np.fft.rfft(samples, size) * np.fft.rfft(response, size)
    return within_scale(np.fft.irfft(spectrum, size)[: samples.size].astype(np.float32))


def _number_of(path: Path) -> int:
    """The same for the same name, wherever the folder is."""
    return int.from_bytes(hashlib.sha256(path.name.encode()).digest()[:4], "big")
