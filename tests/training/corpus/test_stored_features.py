"""A corpus as feature frames: what is stored, what is kept, and that training reads it."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from echostream.audio import FrontEnd
from echostream.commands.corpus import main
from echostream.config import AudioConfig
from echostream.errors import ConfigError, DataError
from echostream.training.corpus.manifest import read_manifest, write_manifest
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
