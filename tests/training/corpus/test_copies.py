"""Copies of a corpus: feature frames for training on a GPU, and Ogg Opus to carry."""

import json
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from echostream.audio import FrontEnd, read_audio
from echostream.commands.corpus import main
from echostream.config import AudioConfig
from echostream.errors import ConfigError, DataError, EchoStreamError
from echostream.training.corpus.manifest import read_manifest, write_manifest
from echostream.training.corpus.opus_copy import copy_as_opus
from echostream.training.corpus.stored_features import StoringOptions, store_features
from echostream.training.corpus.utterances import read_corpus
from echostream.training.features import FeatureReader, augmentation

from ..conftest import make_corpus

OPTIONS = StoringOptions(AudioConfig(lead_in_samples=240), augment="speed", copies=3, seed=7)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A corpus and its features, made by two processes."""
    corpus = make_corpus(tmp_path_factory.mktemp("corpus"))
    output = tmp_path_factory.mktemp("features")
    store_features(corpus, output, OPTIONS, jobs=2)
    return corpus, output


def test_each_copy_is_what_training_would_have_computed(stored: tuple[Path, Path]) -> None:
    corpus, output = stored
    found = {utterance.id: utterance for utterance in read_corpus(output)}
    assert len(found) == 8 * 3 + 2  # eight recordings to train on, two of the development part
    reader = FeatureReader(
        FrontEnd(None, lead_in_samples=240), None, augmentation("speed"), OPTIONS.seed
    )
    lengths = set()
    for utterance in read_corpus(corpus):
        for copy in range(3 if utterance.split == "train" else 1):
            expected = reader(utterance, copy, augmented=copy > 0)
            own = found[f"{utterance.id}@{copy}"]
            features = FeatureReader(FrontEnd(None))(own)
            # Half precision has 11 bits, and the frames lie within 32 of zero.
            np.testing.assert_allclose(features, expected, atol=32 / 2**11)
            assert round(own.seconds * 100) == len(expected)
            assert (own.split, own.source_text) == (utterance.split, utterance.source_text)
            lengths.add((utterance.id, len(expected)))
    assert len(lengths) > 20  # the copies differ in tempo


def test_what_is_finished_is_kept_and_what_changed_is_made_again(
    stored: tuple[Path, Path], tmp_path: Path
) -> None:
    corpus, output = stored
    (archive,) = (output / "features").iterdir()
    before = archive.stat().st_mtime_ns
    again = store_features(corpus, output, OPTIONS)
    assert archive.stat().st_mtime_ns == before and again == read_manifest(output / "manifest.tsv")
    # One process writes the same bytes as two.
    store_features(corpus, tmp_path, OPTIONS)
    (other,) = (tmp_path / "features").iterdir()
    with zipfile.ZipFile(archive) as ours, zipfile.ZipFile(other) as theirs:
        assert {n: ours.read(n) for n in ours.namelist()} == {
            n: theirs.read(n) for n in theirs.namelist()
        }
    assert other.name == archive.name
    store_features(corpus, tmp_path, replace(OPTIONS, seed=8))
    assert len(list((tmp_path / "features").iterdir())) == 2


def test_faults_leave_no_archive_and_damage_is_named(
    stored: tuple[Path, Path], corpus: Path, tmp_path: Path
) -> None:
    shutil.copytree(stored[1], tmp_path / "copy")
    (archive,) = (tmp_path / "copy/features").iterdir()
    os.truncate(archive, archive.stat().st_size // 2)
    with pytest.raises(DataError, match=rf"{archive.name}.*damaged.*remove it"):
        store_features(stored[0], tmp_path / "copy", OPTIONS)
    (corpus / "5.wav").write_bytes(b"not audio")
    with pytest.raises(Exception, match="5.wav"):
        store_features(corpus, tmp_path / "out", OPTIONS)
    assert not list((tmp_path / "out").rglob("*.*"))
    for augment, copies in (("speed", 0), ("none", 2)):
        with pytest.raises(ConfigError, match=f"copies is {copies}"):
            StoringOptions(AudioConfig(), augment=augment, copies=copies)
    with pytest.raises(DataError, match="another --output"):
        store_features(corpus, corpus, OPTIONS)


def test_features_are_not_stored_again_as_if_they_could_be_augmented(
    stored: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=f"{stored[1]} holds feature frames.*expected recordings"):
        store_features(stored[1], tmp_path, OPTIONS)
    assert not list(tmp_path.rglob("*.zip"))


def test_a_corpus_of_features_is_trained_on(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("fairseq", reason="fairseq is not installed")
    from echostream.commands.train import main as train

    rows = read_manifest(corpus / "manifest.tsv")
    write_manifest(
        corpus / "manifest.tsv",
        [replace(row, corpus="other" if row.id == "3" else row.corpus) for row in rows],
    )
    features, run = tmp_path / "features", tmp_path / "run"
    config = str(corpus / "zipformer.yaml")
    assert main(["features", str(corpus), "--output", str(features), "--config", config]) == 0
    assert "26 copies" in capsys.readouterr().out
    short = ["--updates", "2", "--max-frames", "200", "--workers", "0", "--solo-epochs", "1"]
    common = [config, "--data", str(features), "--output", str(run), *short]
    assert train([*common, "--corpora", "c", "--repeat", "c=2"]) == 0
    record = json.loads((run / "run.json").read_text())
    assert "'c'" in str(record) and "'other'" not in str(record)
    assert (run / "model.safetensors").exists()
    assert train([*common, "--corpora", "c,nobody"]) == 1


def tone(folder: Path) -> None:
    """Put something in the place of the noise that Opus is made for."""
    time = np.arange(16_000) / 16_000
    for row in read_manifest(folder / "manifest.tsv"):
        wave = sum(np.sin(2 * np.pi * 150 * n * time) / n for n in range(1, 10))
        soundfile.write(folder / row.audio, 0.1 * wave[: row.num_samples], 16_000)


def test_recordings_keep_their_length_and_sound(corpus: Path, tmp_path: Path) -> None:
    tone(corpus)
    output = tmp_path / "copy"
    rows = copy_as_opus(corpus, output, kbps=32, jobs=2)
    assert rows == read_manifest(output / "manifest.tsv")
    for before, after in zip(read_manifest(corpus / "manifest.tsv"), rows, strict=True):
        assert replace(after, audio=before.audio) == before
        original, _ = read_audio(corpus / before.audio)
        copy, rate = read_audio(output / after.audio)
        assert rate == 16_000 and copy.shape == original.shape[:1]
        error = float(np.sqrt(np.mean((copy - original) ** 2)))
        assert error < 0.2 * float(np.sqrt(np.mean(original**2)))
    assert soundfile.info(output / rows[0].audio).subtype == "OPUS"
    wav_list = (output / "lists" / "c.dev.wav_list").read_text().splitlines()
    assert wav_list == [str(output / row.audio) for row in rows if row.split == "dev"]


def test_the_rest_of_the_folder_comes_along(corpus: Path, tmp_path: Path) -> None:
    (corpus / "recipe.json").write_text("{}")
    (corpus / "texts").mkdir()
    (corpus / "texts" / "a.tsv").write_text("x")
    (corpus / "work").mkdir()
    copy_as_opus(corpus, tmp_path / "copy")
    assert (tmp_path / "copy" / "recipe.json").read_text() == "{}"
    assert (tmp_path / "copy" / "texts" / "a.tsv").exists()
    assert not (tmp_path / "copy" / "work").exists()


def test_a_higher_rate_is_larger_and_what_is_there_is_kept(corpus: Path, tmp_path: Path) -> None:
    sizes = []
    for kbps in (12.0, 24.0, 96.0):
        rows = copy_as_opus(corpus, tmp_path / str(kbps), kbps)
        sizes.append(sum((tmp_path / str(kbps) / row.audio).stat().st_size for row in rows))
    assert sizes[0] < sizes[1] < sizes[2]
    kept = tmp_path / "12.0" / rows[0].audio
    before = kept.stat().st_mtime_ns
    copy_as_opus(corpus, tmp_path / "12.0", 12.0)
    with pytest.raises(DataError, match="at 12 kbit/s, but 96 were asked for.*--kbps 12"):
        copy_as_opus(corpus, tmp_path / "12.0", 96.0)
    assert kept.stat().st_mtime_ns == before


def test_wrong_input_is_named(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match="kbps is 2"):
        copy_as_opus(corpus, tmp_path, 2.0)
    for inside in (corpus, corpus / "opus"):
        with pytest.raises(DataError, match="overwrite it or lie in it"):
            copy_as_opus(corpus, inside)
    soundfile.write(corpus / "3.wav", np.zeros(8_000), 8_000)
    with pytest.raises(EchoStreamError, match="3.wav has 8000 Hz"):
        copy_as_opus(corpus, tmp_path / "stopped")
    stopped = tmp_path / "stopped"
    # What was stopped is no corpus yet.
    assert not (stopped / "manifest.tsv").exists() and not (stopped / "train.tsv").exists()
    assert not list(stopped.rglob("*.part"))
    assert main(["opus", str(corpus), "--output", str(tmp_path), "--kbps", "300"]) == 1
    assert "kbps is 300" in capsys.readouterr().err
