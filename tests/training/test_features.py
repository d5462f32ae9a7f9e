"""Features of utterances: seeds, stored features, archives, masks."""

import dataclasses
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from echostream.audio import Cmvn, FrontEnd
from echostream.errors import AudioFormatError, ConfigError, DataError
from echostream.training.corpus.utterances import Utterance, read_corpus
from echostream.training.features import (
    FeatureReader,
    augmentation,
    read_recording,
    seed_of,
    spec_augment,
)


def test_seeds_and_names() -> None:
    seeds = {seed_of(1, 2, "a"), seed_of(1, 2, "b"), seed_of(2, 1, "a"), seed_of(12, "a")}
    assert len(seeds) == 4 and all(0 <= seed < 2**63 for seed in seeds)
    assert seed_of(1, 2, "a") == seed_of(1, 2, "a")
    with pytest.raises(ConfigError, match="loud.*none, speed, full"):
        augmentation("loud")


def test_an_epoch_of_an_utterance_always_sounds_the_same_and_no_other_does(corpus: Path) -> None:
    first, second = read_corpus(corpus)[:2]

    def read(utterance: Utterance, epoch: int, seed: int = 1) -> bytes:
        reader = FeatureReader(FrontEnd(None), augment=augmentation("full"), seed=seed)
        reader(second, epoch + 7)  # what was read before must not matter
        return reader(utterance, epoch).tobytes()

    assert read(first, 1) == read(first, 1)
    assert len({read(first, 1), read(first, 2), read(first, 1, seed=2), read(second, 1)}) == 4


def test_without_augmentation_features_are_the_front_ends_own(corpus: Path) -> None:
    utterance = read_corpus(corpus)[0]
    samples, _ = soundfile.read(utterance.audio, dtype="float32")
    front_end = FrontEnd(None)
    features, _ = front_end.step(samples, 16_000, front_end.init_state())
    found = FeatureReader(front_end)(utterance, 3)
    np.testing.assert_array_equal(found[: len(features)], features)
    mean, std = np.full(80, 2.0), np.full(80, 4.0)
    normalised = FeatureReader(front_end, Cmvn(mean, std))(utterance)
    np.testing.assert_allclose(normalised, (found - 2.0) / 4.0, rtol=1e-5)


def test_archives_hold_audio_or_features(corpus: Path) -> None:
    utterance = read_corpus(corpus)[0]
    stored = np.random.default_rng(1).standard_normal((40, 80)).astype(np.float32)
    buffer = io.BytesIO()
    np.save(buffer, stored)
    archive = corpus / "all.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        file.writestr("a.npy", buffer.getvalue())
        file.write(utterance.audio, "b.wav")
        file.writestr("c.npy", b"neither")
        stereo = 0.1 * np.random.default_rng(2).standard_normal((2000, 2))
        for name, samples in (("stereo", stereo), ("six", np.zeros((2000, 6)))):
            soundfile.write(corpus / f"{name}.wav", samples, 16_000)
            file.write(corpus / f"{name}.wav", f"{name}.wav")
    with zipfile.ZipFile(archive) as file:
        places = {
            info.filename: (info.header_offset + 30 + len(info.filename), info.file_size)
            for info in file.infolist()
        }

    def piece(name: str) -> Utterance:
        return dataclasses.replace(utterance, audio=archive, slice=places[name])

    np.testing.assert_array_equal(FeatureReader(FrontEnd(None))(piece("a.npy")), stored)
    found, _ = read_recording(piece("b.wav"))
    expected, _ = soundfile.read(utterance.audio, dtype="float32")
    np.testing.assert_array_equal(found, expected)
    for channel, ear in (("left", 0), ("right", 1)):
        heard, _ = read_recording(piece("stereo.wav"), channel)
        np.testing.assert_allclose(heard, stereo[:, ear], atol=1e-4)
    with pytest.raises(AudioFormatError, match="channels"):
        read_recording(piece("six.wav"))
    with pytest.raises(DataError, match="expected audio"):
        read_recording(piece("c.npy"))
    beyond = dataclasses.replace(piece("a.npy"), slice=(archive.stat().st_size - 4, 100))
    with pytest.raises(DataError, match="ends early: 4 of 100"):
        read_recording(beyond)
    np.save(corpus / "f.npy", np.zeros((5, 40), np.float32))
    with pytest.raises(DataError, match=r"\(5, 40\)"):
        read_recording(dataclasses.replace(utterance, audio=corpus / "f.npy"))


def test_masks_leave_most_of_it_and_never_the_input() -> None:
    features = np.ones((400, 80), np.float32)
    changed = spec_augment(features, np.random.default_rng(2))
    assert (features == 1.0).all()
    assert changed.shape == features.shape and changed.dtype == np.float32
    share = np.count_nonzero(changed) / changed.size
    assert 0.4 < share < 1.0
    for frames in (1, 2, 29, 31):
        assert spec_augment(features[:frames], np.random.default_rng(3)).shape == (frames, 80)
