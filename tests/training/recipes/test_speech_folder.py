"""Speech that was made elsewhere: imported, or refused where it leaks."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
import soundfile

from echostream.errors import DataError
from echostream.training.corpus.manifest import ManifestRow
from echostream.training.recipes.speech_folder import import_folder, read_folder

from .packages import tone
from .speakers import VOICES

# Sides by the split rule (test_split.py).
ROWS = (
    ("wesnoth-1.ogg", "ana", "Sí", "Yes"),  # train
    ("wesnoth-2.ogg", "ana+ben", "Uno", "One"),  # train
    ("freedroidrpg-3.ogg", "ben", "Rojo", "Red"),  # dev
    ("wesnoth-4.ogg", "x", "Gracias", "Thank you"),  # test, held-out voice
)


def folder(root: Path, rows: tuple[tuple[str, str, str, str], ...] = ROWS) -> Path:
    made = root / "ready"
    (made / "audio").mkdir(parents=True)
    lines = ["audio\tvoice\tspeed\tseconds\tes\ten"]
    for number, (audio, voice, other, english) in enumerate(rows):
        wave = tone(1.0 + number / 10, 24_000)
        soundfile.write(made / "audio" / audio, wave, 24_000, format="OGG", subtype="OPUS")
        lines.append(f"{audio}\t{voice}\t1.0\t1.0\t{other}\t{english}")
    (made / "manifest.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return made


def take(
    root: Path, made: Path, others: list[ManifestRow] | None = None
) -> list[tuple[str, str, str]]:
    rows = import_folder(made, "ready", VOICES, "es", "en", others or [], root / "out")
    for row in rows:
        info = soundfile.info(root / "out" / row.audio)
        assert (info.samplerate, info.frames, info.format) == (16_000, row.num_samples, "FLAC")
        assert (row.corpus, row.src_lang, row.tgt_lang) == ("ready", "es", "en")
    return [(row.id, row.split, row.speaker) for row in rows]


def test_sides_follow_the_text(tmp_path: Path) -> None:
    assert take(tmp_path, folder(tmp_path)) == [
        ("wesnoth-1", "train", "ready-ana"),
        ("wesnoth-2", "train", "ready-ana+ben"),
        ("freedroidrpg-3", "dev", "ready-ben"),
        ("wesnoth-4", "test", "ready-x"),
    ]


@pytest.mark.parametrize(
    ("number", "voice", "reason"),
    [
        (3, "ana", "its text is in test and its voice ana is not held out"),
        (0, "x", "its text is in train and its voice x is held out"),
        (2, "ana+y", r"its text is in dev and its voice ana\+y is held out"),
    ],
)
def test_a_voice_on_the_wrong_side_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, number: int, voice: str, reason: str
) -> None:
    rows = list(ROWS)
    rows[number] = (rows[number][0], voice, *rows[number][2:])
    with caplog.at_level(logging.WARNING):
        kept = take(tmp_path, folder(tmp_path, tuple(rows)))
    assert [name for name, _, _ in kept] == [
        Path(row[0]).stem for row in ROWS if row != ROWS[number]
    ]
    assert "1 of 4 rows refused" in caplog.text
    assert re.search(reason, caplog.text)


def test_a_text_recorded_on_another_side_is_refused(tmp_path: Path) -> None:
    recorded = ManifestRow(
        "r", "asterisk", "test", "r.flac", 16_000, 1.0, "s", "es", "en", "si", "Yes, please", ""
    )
    names = [name for name, _, _ in take(tmp_path, folder(tmp_path), [recorded])]
    assert names == ["wesnoth-2", "freedroidrpg-3", "wesnoth-4"]


def test_nothing_is_imported_twice(tmp_path: Path) -> None:
    made = folder(tmp_path)
    first = take(tmp_path, made)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.flac")}
    assert take(tmp_path, made) == first
    assert written == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.flac")}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("manifest", "cannot read"),
        ("columns", "no column"),
        ("audio", "there is no file"),
        ("outside", "there is no file"),
        ("source", "its licence is not known"),
        ("twice", "two rows"),
        ("cell", "lacks a value"),
        ("noise", "cannot read"),
    ],
)
def test_damaged_folders_are_refused(tmp_path: Path, fault: str, message: str) -> None:
    made = folder(tmp_path)
    manifest = made / "manifest.tsv"
    text = manifest.read_text()
    if fault == "manifest":
        manifest.unlink()
    elif fault == "columns":
        manifest.write_text(text.replace("\tes\t", "\tfr\t"))
    elif fault == "audio":
        (made / "audio/wesnoth-1.ogg").unlink()
    elif fault == "outside":
        manifest.write_text(text.replace("wesnoth-1.ogg", "../audio/wesnoth-1.ogg"))
    elif fault == "source":
        (made / "audio/wesnoth-1.ogg").rename(made / "audio/novel-1.ogg")
        manifest.write_text(text.replace("wesnoth-1.ogg", "novel-1.ogg"))
    elif fault == "twice":
        manifest.write_text(text.replace("wesnoth-2.ogg", "wesnoth-1.ogg"))
    elif fault == "cell":
        manifest.write_text(text.replace("\tYes", "\t"))
    else:
        (made / "audio/wesnoth-1.ogg").write_bytes(b"not audio")
    with pytest.raises(DataError, match=message):
        take(tmp_path, made)


def test_another_language_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column fr"):
        read_folder(folder(tmp_path), "fr")
