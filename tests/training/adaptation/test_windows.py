"""Windows of mixed speech: which recordings are in them, and that they can be made again."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile

from echostream.errors import DataError
from echostream.training.adaptation.windows import WINDOW_SAMPLES, WindowMaker, find_recordings
from echostream.training.corpus.manifest import write_manifest
from tests.training.conftest import ROW


def write_tones(folder: Path, count: int, seconds: float = 0.7) -> list[Path]:
    """Recordings of one tone each, of its own frequency."""
    folder.mkdir(parents=True, exist_ok=True)
    times = np.arange(int(seconds * 16_000)) / 16_000
    paths = [folder / f"tone{number}.flac" for number in range(count)]
    for number, path in enumerate(paths):
        soundfile.write(path, 0.3 * np.sin(2 * np.pi * (200 + 20 * number) * times), 16_000)
    return paths


def test_a_window_is_the_same_whenever_it_is_made(tmp_path: Path) -> None:
    groups = [write_tones(tmp_path / "a", 5), write_tones(tmp_path / "b", 3)]
    made = {number: WindowMaker(groups, 1)(number) for number in (3, 1)}
    again = WindowMaker(groups, 1)
    for number in (1, 3):
        np.testing.assert_array_equal(again(number), made[number])
    assert not np.array_equal(made[1], made[3])
    assert not np.array_equal(WindowMaker(groups, 2)(1), made[1])
    for window in made.values():
        assert window.shape == (WINDOW_SAMPLES,) and window.dtype == np.float32
        assert np.isfinite(window).all() and 0.001 < np.abs(window).max() <= 1.0


def test_what_is_spoken_in_a_window_of_known_texts(tmp_path: Path) -> None:
    groups = [write_tones(tmp_path / "a", 5), write_tones(tmp_path / "b", 3, 20.0)]
    maker = WindowMaker(groups, 1, with_texts=True)
    windows = [maker.window(number) for number in range(8)]
    for window in windows:
        assert len({each.path.parent for each in window.spoken}) == 1
        for each, following in zip(window.spoken, window.spoken[1:], strict=False):
            assert each.is_whole and each.end <= following.begin
        assert window.end == WINDOW_SAMPLES or window.end > window.spoken[0].end
    assert {len(window.spoken) == 1 for window in windows} == {True, False}
    last = [window.spoken[-1] for window in windows]
    assert {each.end == WINDOW_SAMPLES for each in last if not each.is_whole} == {True}


def test_held_out_recordings_are_in_no_training_window(tmp_path: Path) -> None:
    paths = write_tones(tmp_path / "a", 200, 0.01)
    found = find_recordings([tmp_path / "a"])
    (train,), (held_out,) = found.train, found.held_out
    assert sorted((*train, *held_out)) == sorted(paths) and len(held_out) == 4
    # Elsewhere the same ones are held out.
    (tmp_path / "a").rename(tmp_path / "z")
    (elsewhere,) = find_recordings([tmp_path / "z"]).held_out
    assert [path.name for path in elsewhere] == [path.name for path in held_out]


def test_only_the_training_part_without_what_is_left_out(tmp_path: Path) -> None:
    rows = [
        dataclasses.replace(ROW, id=str(number), split=split, corpus=corpus, audio=f"{number}.wav")
        for number, (split, corpus) in enumerate(
            [("train", "a"), ("dev", "a"), ("test", "a"), ("train", "b"), ("train", "a")]
        )
    ]
    write_manifest(tmp_path / "manifest.tsv", rows)
    found = find_recordings([tmp_path], ["b"])
    heard = {path.name for part in (*found.train, *found.held_out) for path in part}
    assert heard == {"0.wav", "4.wav"}
    with pytest.raises(DataError, match="no corpus c to leave out; expected one of a, b"):
        find_recordings([tmp_path], ["c"])


def test_recordings_none_of_which_can_be_used_are_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    short, missing = write_tones(tmp_path, 1, 0.1), [tmp_path / "all.zip:63:4000"]
    for group in (short, missing):
        with pytest.raises(DataError, match=f"in a row cannot be used, the last is {group[0]}"):
            WindowMaker([group], 1)(0)


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing to hear")
    with pytest.raises(DataError, match="has no recordings; expected manifest.tsv"):
        find_recordings([tmp_path])
