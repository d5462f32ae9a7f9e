"""Whole runs with synthetic speech, through the command, and the leak check over everything.

These are the checks that run on every change: packages and espeak-ng are made up, the sentences
and the code are not.
"""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from echostream.commands import data as cli
from echostream.errors import DataError
from echostream.training.corpus.manifest import ManifestRow, leak_check, read_manifest
from echostream.training.corpus.split import normalise_english, split_of
from echostream.training.recipes import synthetic
from echostream.training.recipes.espeak import HEARD_VARIANTS, HELD_OUT_VARIANTS
from echostream.training.recipes.kokoro import VOICE_TABLES
from echostream.training.recipes.language_pairs import RECIPES
from echostream.training.recipes.parallel_text import read_texts
from echostream.training.recipes.synthetic import import_folder, synthetic_leak_check

from ..conftest import ROW
from .conftest import needs_dpkg
from .packages import EXPECTED, Archive, mini_recipe, names, text_packages, tone
from .speakers import VOICES, ToneEngine, write_espeak
from .test_synthesis import NUMBERS

SENTENCES = {
    f"I have {first} and {second} dogs": f"Tengo perros {first} y {second}"
    for first in NUMBERS
    for second in NUMBERS[:4]
} | {
    # Both are train texts, but people say their translations in test, for other English texts.
    "The conference is locked now": "Bloqueada",
    "Many thanks to you": "Gracias",
}


# Speech that was made elsewhere; sides by the split rule (test_split.py).
ROWS = (
    ("wesnoth-1.ogg", "ana", "Sí", "Yes"),  # train
    ("wesnoth-2.ogg", "ana+ben", "Uno", "One"),  # train
    ("freedroidrpg-3.ogg", "ben", "Rojo", "Red"),  # dev
    ("wesnoth-4.ogg", "x", "Gracias", "Thank you"),  # test, held-out voice
)
IDS = [Path(row[0]).stem for row in ROWS]


def folder(root: Path, rows: Sequence[tuple[str, str, str, str]] = ROWS) -> Path:
    made = root / "ready"
    (made / "audio").mkdir(parents=True)
    lines = ["audio\tvoice\tspeed\tseconds\tes\ten"]
    for number, (audio, voice, other, english) in enumerate(rows):
        wave = tone(1.0 + number / 10, 24_000)
        soundfile.write(made / "audio" / audio, wave, 24_000, format="OGG", subtype="OPUS")
        lines.append(f"{audio}\t{voice}\t1.0\t1.0\t{other}\t{english}")
    (made / "manifest.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return made


def take(root: Path, made: Path, others: Sequence[ManifestRow] = ()) -> list[ManifestRow]:
    rows = import_folder(made, "ready", VOICES, "es", "en", others, root / "out")
    for row in rows:
        info = soundfile.info(root / "out" / row.audio)
        assert (info.samplerate, info.frames, info.format) == (16_000, row.num_samples, "FLAC")
        assert (row.corpus, row.src_lang, row.tgt_lang) == ("ready", "es", "en")
    return rows


@pytest.fixture
def command(full_archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    for name, content in text_packages(SENTENCES).items():
        full_archive.add(name, content)
    write_espeak(full_archive.programs, (*HEARD_VARIANTS, *HELD_OUT_VARIANTS))
    monkeypatch.setitem(RECIPES, "es-en", mini_recipe())
    monkeypatch.chdir(tmp_path)
    return full_archive


def make(*arguments: str) -> list[ManifestRow]:
    extra = ("--texts", "freedroidrpg", "--output", "o")
    assert cli.main(["es-en", *extra, *arguments]) == 0
    return read_manifest(Path("o/manifest.tsv"))


def check_everything(rows: Sequence[ManifestRow]) -> None:
    """What must hold of any manifest of the recipes, worked out without their code."""
    leak_check(rows)
    sides: dict[str, set[str]] = {}
    for row in rows:
        assert row.split == split_of(row.english)
        assert (Path("o") / row.audio).is_file()
        sides.setdefault(normalise_english(row.english), set()).add(row.split)
        if row.corpus in ("espeak", "tone"):
            assert row.seconds > 0.5
    assert all(len(side) == 1 for side in sides.values())
    voices: dict[str, set[str]] = {}
    for row in rows:
        if row.corpus in ("espeak", "tone", "ready"):
            voices.setdefault(row.speaker, set()).add(row.split)
    assert all("test" not in side or side == {"test"} for side in voices.values())


@needs_dpkg
def test_recordings_and_synthetic_speech_in_one_manifest(
    command: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = make("--synthetic", "espeak", "--hours", "0.02")
    check_everything(rows)
    assert names(rows)[: len(EXPECTED)] == EXPECTED
    spoken = [row for row in rows if row.corpus == "espeak"]
    assert {row.split for row in spoken} == {"train", "dev", "test"}
    assert all(SENTENCES[row.tgt_text] == row.src_text for row in spoken)
    # Sentences whose translation is recorded on another side may not be spoken, all others may.
    allowed = {pair.other for pair in read_texts(Path("o/texts.tsv"))}
    assert allowed == set(SENTENCES.values()) - {"Gracias", "Bloqueada"}
    assert {row.speaker.split("/")[1] for row in spoken if row.split == "test"} <= set(
        HELD_OUT_VARIANTS
    )
    assert Path("o/lists/espeak.test.wav_list").is_file()
    notice = Path("o/LICENCES.txt").read_text()
    assert "espeak-ng 1.51" in notice and "FreedroidRPG" in notice and "Vampire" in notice
    assert not Path("o/work").exists()
    out = capsys.readouterr().out
    assert "espeak" in out


@needs_dpkg
def test_a_second_run_makes_nothing_and_a_longer_one_only_the_rest(command: Archive) -> None:
    first = make("--synthetic", "espeak=0.004")
    written = {path: path.stat().st_mtime_ns for path in Path("o/audio").rglob("*.flac")}
    command.fail("E: no network")
    assert make("--synthetic", "espeak=0.004") == first
    longer = make("--synthetic", "espeak=0.008")
    assert {row.id for row in first} < {row.id for row in longer}
    check_everything(longer)
    after = {path: path.stat().st_mtime_ns for path in Path("o/audio").rglob("*.flac")}
    assert after.items() >= written.items() and len(after) > len(written)
    # Without the option the speech stays in the manifest.
    assert make() == longer
    # Another version of the engine makes it all again.
    command.fail("")
    stray = Path("o/audio/espeak/stray.flac")
    stray.write_bytes(b"old")
    write_espeak(command.programs, (*HEARD_VARIANTS, *HELD_OUT_VARIANTS), version="1.52")
    check_everything(make("--synthetic", "espeak=0.004"))
    assert not stray.exists() and "espeak-ng 1.52" in Path("o/LICENCES.txt").read_text()


@needs_dpkg
def test_an_engine_and_a_folder(
    command: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = ToneEngine()
    monkeypatch.setattr(synthetic, "make_engine", lambda name, language, work: engine)
    monkeypatch.setattr(synthetic, "VOICE_TABLES", {**VOICE_TABLES, "es": VOICES})
    ready = folder(tmp_path)
    rows = make("--synthetic", "kokoro=0.01", "--kokoro-folder", str(ready))
    check_everything(rows)
    assert {row.corpus for row in rows} == {"asterisk", "tuxpaint", "drascula", "ready", "tone"}
    # Imported rows that a recording stands against: none here, so all four are kept.
    assert sum(row.corpus == "ready" for row in rows) == 4
    shutil.rmtree(ready)
    assert make() == rows


@needs_dpkg
def test_imported_speech_stands_against_sentences_to_speak(
    command: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # "Yes" is a train text; in the folder its translation is that of a sentence of test.
    english, other = next(pair for pair in SENTENCES.items() if split_of(pair[0]) == "test")
    ready = folder(tmp_path, (("wesnoth-1.ogg", "ana", other, "Yes"), *ROWS[1:]))
    monkeypatch.setattr(synthetic, "VOICE_TABLES", {**VOICE_TABLES, "es": VOICES})
    rows = make("--kokoro-folder", str(ready))
    assert other in {row.src_text for row in rows}
    monkeypatch.setattr(synthetic, "make_engine", lambda name, language, work: ToneEngine())
    rows = make("--synthetic", "kokoro=0.03")
    check_everything(rows)
    said = {row.tgt_text for row in rows if row.corpus == "tone"}
    assert english not in said
    assert sum(split_of(text) == "test" for text in said) >= 3
    # Without the filter the check of the manifest stops the run.
    monkeypatch.setattr(synthetic, "without_crossings", lambda pairs, others: pairs)
    assert cli.main(["es-en", "--texts", "freedroidrpg", "--output", "o", "--synthetic",
                     "kokoro=0.03"]) == 1  # fmt: skip
    assert english not in {row.tgt_text for row in read_manifest(Path("o/manifest.tsv"))}


@needs_dpkg
def test_faults_are_one_line(
    command: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder(tmp_path).rename(tmp_path / "asterisk")
    arguments = ["es-en", "--output", "o", "--synthetic", "espeak", "--texts"]
    for given, expected in (
        ([*arguments, "freedroidrpg"], "ask for fewer --hours"),
        ([*arguments, "tatoeba"], "no text source tatoeba"),
        ([*arguments[:3], "--kokoro-folder", str(tmp_path / "asterisk")], "rename the folder"),
    ):
        assert cli.main(given) == 1
        message = capsys.readouterr().err
        assert expected in message and message.startswith("echostream data: error: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["de-en"],
        [],
        ["es-en", "--jobs", "0"],
        ["es-en", "--splits", "valid"],
        ["es-en", "--synthetic", "festival"],
        ["es-en", "--synthetic", "espeak=0"],
        ["es-en", "--hours", "nan"],
    ],
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    assert "usage: echostream data" in capsys.readouterr().err


def test_planted_leaks_are_found() -> None:
    said = replace(ROW, id="a", corpus="asterisk", src_text="hola", tgt_text="hello")
    made = replace(ROW, id="b", corpus="espeak", split="test", src_text="adios", tgt_text="bye")
    synthetic_leak_check([said, made], {"espeak"})
    for leak in (
        replace(made, src_text="¡Hóla!"),  # the spoken text, with an accent of its own
        replace(made, tgt_text="Hello?"),
        replace(made, src_text="hello"),
    ):
        with pytest.raises(DataError, match=r"espeak/b in test, asterisk/a in train"):
            synthetic_leak_check([said, leak], {"espeak"})
        with pytest.raises(DataError, match="two sides"):
            synthetic_leak_check([leak, said], {"espeak"})
    # People may say one thing on two sides; the split rule looks at the English text only.
    twice = replace(said, id="c", split="test", tgt_text="hi")
    synthetic_leak_check([said, twice], {"espeak"})


def test_sides_of_imported_speech_follow_the_text(tmp_path: Path) -> None:
    rows = take(tmp_path, folder(tmp_path))
    assert [(row.id, row.split, row.speaker) for row in rows] == [
        ("wesnoth-1", "train", "ready-ana"),
        ("wesnoth-2", "train", "ready-ana+ben"),
        ("freedroidrpg-3", "dev", "ready-ben"),
        ("wesnoth-4", "test", "ready-x"),
    ]
    recorded = replace(ROW, split="test", src_text="si", tgt_text="Yes, please")
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.flac")}
    assert [row.id for row in take(tmp_path, tmp_path / "ready", [recorded])] == IDS[1:]
    assert written == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.flac")}


@pytest.mark.parametrize(("number", "voice"), [(3, "ana"), (0, "x"), (2, "ana+y")])
def test_a_voice_on_the_wrong_side_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, number: int, voice: str
) -> None:
    rows = list(ROWS)
    rows[number] = (rows[number][0], voice, *rows[number][2:])
    with caplog.at_level(logging.WARNING):
        kept = take(tmp_path, folder(tmp_path, rows))
    assert [row.id for row in kept] == IDS[:number] + IDS[number + 1 :]
    assert f"1 of 4 rows refused, the first is {IDS[number]}" in caplog.text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\tes\t", "\tfr\t", "no column"),
        ("wesnoth-1.ogg", "gone.ogg", "there is no file"),
        ("wesnoth-1.ogg", "../audio/wesnoth-1.ogg", "there is no file"),
        ("wesnoth-1.ogg", "novel-1.ogg", "its licence is not known"),
        ("wesnoth-2.ogg", "wesnoth-1.ogg", "two rows"),
        ("\tYes", "\t", "lacks a value"),
        ("wesnoth-1.ogg", "wesnoth-noise.ogg", "cannot read"),
    ],
)
def test_damaged_folders_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    made = folder(tmp_path)
    shutil.copy(made / "audio/wesnoth-1.ogg", made / "audio/novel-1.ogg")
    (made / "audio/wesnoth-noise.ogg").write_bytes(b"not audio")
    text = (made / "manifest.tsv").read_text()
    (made / "manifest.tsv").write_text(text.replace(old, new))
    with pytest.raises(DataError, match=message):
        take(tmp_path, made)
