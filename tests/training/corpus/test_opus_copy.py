"""A copy of a corpus as Ogg Opus: the recordings, the tables, and what a recipe finds in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from echostream.audio import read_audio
from echostream.commands.corpus import main
from echostream.errors import ConfigError, DataError, EchoStreamError
from echostream.training.corpus.manifest import read_manifest
from echostream.training.corpus.opus_copy import copy_as_opus


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
    with pytest.raises(DataError, match="overwrite it"):
        copy_as_opus(corpus, corpus)
    soundfile.write(corpus / "3.wav", np.zeros(8_000), 8_000)
    with pytest.raises(EchoStreamError, match="3.wav has 8000 Hz"):
        copy_as_opus(corpus, tmp_path / "stopped")
    stopped = tmp_path / "stopped"
    # What was stopped is no corpus yet.
    assert not (stopped / "manifest.tsv").exists() and not (stopped / "train.tsv").exists()
    assert not list(stopped.rglob("*.part"))
    assert main(["opus", str(corpus), "--output", str(tmp_path), "--kbps", "300"]) == 1
    assert "kbps is 300" in capsys.readouterr().err
