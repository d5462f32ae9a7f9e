"""From a recording to what the encoder is trained on: augmented, filter bank, normalised, masked.

Nothing is cached but what is small: at about 350 times real time on one core, reading, augmenting
and the filter bank together cost a fraction of a training step, and every epoch hears other voices.

Everything random is drawn from a seed that names the run, the epoch and the utterance, so it is the
same in whatever process, worker or resumed run the utterance comes up.

Symbols: ``n`` samples, ``T`` feature frames (100 Hz), ``F`` mel bins.
"""

import hashlib
import io
from collections.abc import Callable
from functools import partial

import numpy as np
import soxr
from numpy.typing import NDArray

from echostream.audio import Cmvn, FrontEnd, read_audio
from echostream.audio.samples import Channel, as_mono
from echostream.constants import NUM_MEL_BINS, SAMPLE_RATE
from echostream.errors import ConfigError, DataError
from echostream.training.augment import DEFAULT, Augmentation, augment
from echostream.training.corpus.clip import opened, piece_bytes
from echostream.training.corpus.speech_tables import NPY
from echostream.training.corpus.utterances import Utterance

Samples = NDArray[np.float32]
Features = NDArray[np.float32]
Augment = Callable[[Samples, np.random.Generator], Samples]

SPEED_AND_COLOUR = Augmentation(
    pitch_chance=0.0, high_chance=0.0, low_chance=0.0, level_chance=0.0, noise_chance=0.0
)
AUGMENTATIONS = {"none": None, "speed": SPEED_AND_COLOUR, "full": DEFAULT}
"""What ``--augment`` may be: nothing; tempo and pitch together, and the colour of the spectrum; or
everything in ``augment``."""


def seed_of(*parts: object) -> int:
    """A number from 0 to 2**63 - 1 that depends on all parts and on nothing else."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def augmentation(name: str) -> Augment | None:
    """The augmentation of that name. Raises `ConfigError` if there is none."""
    if name not in AUGMENTATIONS:
        raise ConfigError(
            f"augmentation {name!r} does not exist; expected one of {', '.join(AUGMENTATIONS)}"
        )
    options = AUGMENTATIONS[name]
    return None if options is None else partial(augment, options=options)


def read_recording(
    utterance: Utterance, channel: Channel = "mean"
) -> tuple[Samples | None, Features | None]:
    """Samples ``[n]`` at 16 kHz, or the features ``[T, F]`` that the corpus has instead of audio.

    ``channel`` is what is heard of a stereo file. Raises `DataError` or `AudioFormatError`.
    """
    if utterance.slice is not None:
        data = piece_bytes(utterance.audio, utterance.slice)
        if data.startswith(NPY):
            return None, _stored_features(utterance, data)
        with opened(utterance.audio, utterance.slice) as file:
            rate = int(file.samplerate)
            samples = as_mono(file.read(dtype="float32", always_2d=True), channel=channel)
    elif utterance.audio.suffix == ".npy":
        try:
            return None, _stored_features(utterance, utterance.audio.read_bytes())
        except OSError as error:
            raise DataError(f"cannot read {utterance.audio}: {error.strerror}") from error
    else:
        samples, rate = read_audio(utterance.audio, channel=channel)
    if rate != SAMPLE_RATE:
        samples = soxr.resample(samples, rate, SAMPLE_RATE).astype(np.float32, copy=False)
    return samples, None


def _stored_features(utterance: Utterance, data: bytes) -> Features:
    try:
        if not data.startswith(NPY):
            raise ValueError(f"it begins with {data[:6]!r}")
        features: Features = np.load(io.BytesIO(data), allow_pickle=False)
    except ValueError as error:
        raise DataError(f"{utterance.audio} ({utterance.id}) is no .npy: {error}") from error
    if features.ndim != 2 or features.shape[1] != NUM_MEL_BINS:
        raise DataError(
            f"{utterance.audio} ({utterance.id}) holds an array of shape {features.shape}; "
            f"expected feature frames [T, {NUM_MEL_BINS}]"
        )
    return features.astype(np.float32, copy=False)


class FeatureReader:
    """Reads the features ``[T, F]`` of utterances. What a corpus stores as features is not
    augmented; it must be Kaldi's filter bank of samples scaled by 32768, as fairseq's recipes
    store it, since that is what the front end computes.

    ``front_end`` does not normalise; ``cmvn`` is ``None`` while its statistics are being found,
    ``augment`` where the samples are not changed. ``seed`` is of the run.
    """

    def __init__(
        self,
        front_end: FrontEnd,
        cmvn: Cmvn | None = None,
        augment: Augment | None = None,
        seed: int = 1,
    ) -> None:
        self.front_end, self.cmvn, self.augment, self.seed = front_end, cmvn, augment, seed

    def __call__(self, utterance: Utterance, epoch: int = 0, *, augmented: bool = True) -> Features:
        """``[T, F]``: the same for the same seed, epoch and utterance."""
        samples, features = read_recording(utterance, self.front_end.channel)
        if samples is not None:
            if self.augment is not None and augmented:
                chance = np.random.default_rng(seed_of(self.seed, epoch, utterance.key))
                samples = self.augment(samples, chance)
            first, state = self.front_end.step(samples, SAMPLE_RATE, self.front_end.init_state())
            rest, _ = self.front_end.flush(state)
            features = np.concatenate((first, rest))
        assert features is not None
        return features if self.cmvn is None else self.cmvn(features)


def spec_augment(features: Features, chance: np.random.Generator) -> Features:
    """Loudness shift, two masked bands and masked stretches of time (arXiv 1904.08779).

    ``[T, F]`` to a new ``[T, F]``. Features are normalised, so zero is the mean of the training
    data.
    """
    frames, bins = features.shape
    features = features + np.float32(chance.uniform(-0.5, 0.5))
    for _ in range(2):
        width = int(chance.integers(0, 20))
        start = int(chance.integers(0, bins - width))
        features[:, start : start + width] = 0.0
    for _ in range(max(1, frames // 150)):
        width = int(chance.integers(0, max(1, min(30, frames))))
        start = int(chance.integers(0, max(1, frames - width)))
        features[start : start + width] = 0.0
    return features
