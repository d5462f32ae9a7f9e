"""Batches: every utterance once an epoch; features: seeds, archives, masks."""

import dataclasses
import io
import itertools
import zipfile
from argparse import Namespace
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fairseq.tasks import LegacyFairseqTask  # noqa: E402
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.audio import Cmvn, FrontEnd
from echostream.config import load_config
from echostream.errors import AudioFormatError, ConfigError, DataError
from echostream.training.corpus.utterances import Utterance, read_corpus, select
from echostream.training.fairseq_plugin.dataset import SpeechDataset  # noqa: E402
from echostream.training.features import (
    FeatureReader,
    augmentation,
    read_recording,
    seed_of,
    spec_augment,
)
from echostream.training.preparation import Preparation, prepare

pytest.importorskip("fairseq", reason="fairseq is not installed")


class Stub:
    """A reader whose features say which utterance and epoch they are of."""

    def __init__(self) -> None:
        self.augmented: list[bool] = []

    def __call__(
        self, utterance: Any, epoch: int = 0, *, augmented: bool = True
    ) -> np.ndarray[Any, Any]:
        self.augmented.append(augmented)
        frames = round(utterance.seconds * 100)
        return np.full((frames, 80), int(utterance.id) + 1000 * epoch, np.float32)


@pytest.fixture(scope="module")
def prepared(shared_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Preparation:
    config = load_config(shared_corpus / "zipformer.yaml")
    return prepare(config, shared_corpus, tmp_path_factory.mktemp("run"))


def dataset(prepared: Preparation, count: int = 60, **options: Any) -> SpeechDataset:
    """``count`` utterances of 0.5 to 1.2 s, whose ids are their numbers."""
    model = select(prepared.utterances, "train")[0]
    utterances = [
        replace(model, id=str(n), num_samples=8000 + 1600 * (n % 8)) for n in range(count)
    ]
    options = {"max_frames": 300, "joined": (1, 1, 2, 3, 4), **options}
    return SpeechDataset(utterances, prepared, Stub(), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("solo_epochs", [0, 1])
def test_an_epoch_has_every_utterance_once(prepared: Preparation, solo_epochs: int) -> None:
    data = dataset(prepared, solo_epochs=solo_epochs)
    data.set_epoch(1)
    seen: Counter[str] = Counter()
    for batch in data.batch_by_size(data.ordered_indices(), max_tokens=600):
        sample = data.collater([data[int(index)] for index in batch])
        rows, frames, _ = sample["net_input"]["features"].shape
        assert rows == 1 or rows * frames <= 600
        assert sample["ntokens"] == int(sample["target_lengths"].sum()) == len(sample["target"])
        for index in batch:
            seen.update(data.utterances[member].id for member in data.groups[int(index)])
    assert seen == Counter(str(n) for n in range(60))
    assert (max(map(len, data.groups)) == 1) == bool(solo_epochs)
    assert data.collater([]) == {}


def test_only_short_utterances_take_part_in_the_first_stage(prepared: Preparation) -> None:
    data = dataset(prepared, solo_epochs=1, solo_frames=80)
    data.set_epoch(1)
    first = [member for group in data.groups for member in group]
    assert sorted(first) == [n for n in range(60) if data.frames[n] <= 80]
    assert 0 < len(first) < 60
    data.set_epoch(2)
    assert sorted(member for group in data.groups for member in group) == list(range(60))
    # None as short as that: better all than none.
    data = dataset(prepared, solo_epochs=1, solo_frames=10)
    data.set_epoch(1)
    assert len(data) == 60


def test_the_parts_of_an_example_stay_together(prepared: Preparation) -> None:
    data = dataset(prepared)
    data.set_epoch(5)
    data.solo_epochs = 5  # no masks, so that the features can be told
    group = max(range(len(data)), key=lambda index: len(data.groups[index]))
    sample = data.collater([data[group], data[0]])
    members = data.groups[group]
    expected = [m + 5000.0 for m in members for _ in range(data.frames[m])]
    features = sample["net_input"]["features"]
    assert features[0, : len(expected), 0].tolist() == expected
    shorter = int(sample["net_input"]["lengths"][1])
    assert shorter < len(expected) and not features[1, shorter:].any()
    units = [unit for m in members for unit in data.source[m]]
    assert sample["source"][: len(units)].tolist() == units
    assert int(sample["source_lengths"][0]) == len(units)


def test_epochs_differ_and_are_drawn_again_alike(prepared: Preparation) -> None:
    first, second = dataset(prepared), dataset(prepared)
    orders = []
    for epoch in (1, 2, 3):
        first.set_epoch(epoch)
        orders.append(first.groups)
    second.set_epoch(3)
    assert second.groups == orders[2]
    assert orders[0] != orders[1] != orders[2]
    batch = [first[0], first[1]]
    again = [second[0], second[1]]
    assert all(
        np.array_equal(a["features"], b["features"]) for a, b in zip(batch, again, strict=True)
    )
    assert first.collater(batch)["seed"] == second.collater(again)["seed"]
    other = dataset(prepared, seed=2)
    other.set_epoch(3)
    assert other.groups != orders[2]


def test_masks_come_after_the_first_stage_and_never_in_validation(prepared: Preparation) -> None:
    data = dataset(prepared, solo_epochs=2)
    for epoch, masked in ((2, False), (3, True)):
        data.set_epoch(epoch)
        values = [len(np.unique(data[index]["features"])) for index in range(len(data))]
        assert (max(values) > 4) == masked  # four utterances have four values
        assert set(data.reader.augmented) == {masked}  # type: ignore[attr-defined]
        data.reader.augmented.clear()  # type: ignore[attr-defined]
    dev = dataset(prepared, training=False)
    dev.set_epoch(9)
    assert [dev.groups[n] for n in range(3)] == [(0,), (1,), (2,)]
    assert (dev[7]["features"] == 7.0).all()


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=40),
    max_tokens=st.none() | st.integers(1, 900),
    max_sentences=st.none() | st.integers(1, 9),
)
def test_no_example_is_lost_and_no_batch_too_large(
    sizes: list[int], max_tokens: int | None, max_sentences: int | None
) -> None:
    data = SpeechDataset.__new__(SpeechDataset)
    data.sizes = np.array(sizes)
    order = data.ordered_indices()
    batches = data.batch_by_size(order, max_tokens, max_sentences, 8)
    assert list(itertools.chain(*(batch.tolist() for batch in batches))) == order.tolist()
    for batch in batches:
        assert max_sentences is None or len(batch) <= max_sentences
        area = len(batch) * int(data.sizes[batch].max())
        assert len(batch) == 1 or max_tokens is None or area <= max_tokens


def test_an_example_longer_than_a_batch_is_not_left_out(prepared: Preparation) -> None:
    data = dataset(prepared)
    data.set_epoch(1)
    task = LegacyFairseqTask(Namespace())
    batches = task.get_batch_iterator(
        data, max_tokens=100, max_positions=100, ignore_invalid_inputs=True, seed=1
    ).frozen_batches
    assert sorted(itertools.chain(*batches)) == list(range(len(data)))
    assert max(data.sizes) > 100


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
