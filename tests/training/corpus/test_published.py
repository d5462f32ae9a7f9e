"""CoVoST 2, CVSS-C and MuST-C on small folders made in their layouts."""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml

from echostream.commands import corpus as command
from echostream.errors import DataError
from echostream.training.corpus.clip import Clip
from echostream.training.corpus.importing import import_corpus
from echostream.training.corpus.manifest import read_manifest
from echostream.training.corpus.published import read_covost2, read_cvss_c, read_must_c

CLIPS = (
    ("common_voice_es_1", "train", "Buenos días", "Good morning"),
    ("common_voice_es_2", "train_covost", "Otra \"frase\"", "C:\\data, \"quoted\""),
    ("common_voice_es_3", "dev", "Hasta luego", "See you later"),
    ("common_voice_es_4", "test", "Muchas gracias", "Many thanks"),
)  # fmt: skip


def sine(seconds: float, rate: int, hertz: float = 440.0) -> np.ndarray:
    return 0.4 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def escaped(text: str) -> str:
    """As pandas writes it for CoVoST 2 and Common Voice."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def covost2(root: Path) -> Path:
    (root / "clips").mkdir(parents=True)
    validated = ["client_id\tpath\tsentence\tup_votes"]
    table = ["path\ttranslation\tsplit"]
    for number, (name, split, spoken, english) in enumerate(CLIPS, 1):
        validated.append(f"speaker{number % 2}\t{name}.mp3\t{escaped(spoken)}\t2")
        table.append(f"{name}.mp3\t{escaped(english)}\t{split}")
        soundfile.write(root / f"clips/{name}.mp3", sine(1 + number / 10, 48_000), 48_000)
    # Common Voice has more than CoVoST translates, and the other way round.
    validated.append("speaker9\tcommon_voice_es_9.mp3\tSin traducir\t2")
    table.append("common_voice_es_8.mp3\tInvalidated since\ttrain")
    (root / "validated.tsv").write_text("\n".join(validated) + "\n")
    (root / "covost_v2.es_en.tsv").write_text("\n".join(table) + "\n")
    return root


def cvss_c(root: Path) -> Path:
    root.mkdir()
    lines = {"train": "", "dev": "", "test": ""}
    for name, side, _, english in CLIPS:
        lines[side.removesuffix("_covost")] += f"{name}.mp3\t{english.lower()}\n"
    for split, text in lines.items():
        (root / f"{split}.tsv").write_text(text)
    return root


SEGMENTS = (
    ("ted_1.wav", 1.5, 1.0, "Second segment.", "Segundo segmento."),
    ("ted_1.wav", 0.25, 1.0, "First segment.", "Primer segmento."),
    ("ted_2.wav", 0.5, 0.75, "Another talk.", "Otra charla."),
    ("ted_2.wav", 1.5, 0.5, "(Applause)", ""),
)


def must_c(root: Path, splits: tuple[str, ...] = ("train", "dev", "tst-COMMON")) -> Path:
    for split in splits:
        folder = root / "en-es/data" / split
        (folder / "wav").mkdir(parents=True)
        (folder / "txt").mkdir()
        # Each second of a talk has a pitch of its own: a segment shows where it was cut.
        for talk in ("ted_1.wav", "ted_2.wav"):
            seconds = [sine(1.0, 16_000, 300.0 * (number + 1)) for number in range(4)]
            soundfile.write(folder / "wav" / talk, np.concatenate(seconds), 16_000)
        entries = "".join(
            f"- {{duration: {duration}, offset: {offset}, rW: 3, uW: 0, "
            f"speaker_id: spk.{wav[4]}, wav: {wav}}}\n"
            for wav, offset, duration, _, _ in SEGMENTS
        )
        (folder / "txt" / f"{split}.yaml").write_text(entries)
        for language, column in (("en", 3), ("es", 4)):
            lines = "".join(f"{segment[column]}\n" for segment in SEGMENTS)
            (folder / "txt" / f"{split}.{language}").write_text(lines)
    return root


def brief(utterances: list[Clip]) -> list[tuple[str, str, str, str]]:
    return [(each.id, each.split, each.src_text, each.tgt_text) for each in utterances]


def test_covost2_with_and_without_all_clips(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = covost2(tmp_path)
    utterances = read_covost2(root, "es", "en")
    assert brief(utterances) == [
        (name, split.removesuffix("_covost"), spoken, english)
        for name, split, spoken, english in CLIPS
    ]
    assert [each.speaker for each in utterances] == ["speaker1", "speaker0"] * 2
    # Training clips that were withdrawn are left out.
    caplog.clear()
    (root / "clips/common_voice_es_2.mp3").unlink()
    with caplog.at_level(logging.WARNING):
        assert len(read_covost2(root, "es", "en")) == 3
    # Another one is named by CoVoST's table alone.
    assert "lacks 2 recordings" in caplog.text
    (root / "clips/common_voice_es_4.mp3").unlink()
    with pytest.raises(DataError, match="1 recordings of dev and test.*es_4.mp3 of test.*--splits"):
        read_covost2(root, "es", "en")
    some = read_covost2(root, "es", "en", ("train", "dev"))
    assert [clip.split for clip in some] == ["train", "dev"]
    for clip in (root / "clips").iterdir():
        clip.unlink()
    with pytest.raises(DataError, match="none of the 5 recordings"):
        read_covost2(root, "es", "en")


def test_must_c_is_cut_where_it_says(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    utterances = read_must_c(must_c(tmp_path / "m"), "es")
    assert brief(utterances) == [
        (name, split, english, spanish)
        for split in ("train", "dev", "test")
        for name, english, spanish in (
            ("ted_1_0", "First segment.", "Primer segmento."),
            ("ted_1_1", "Second segment.", "Segundo segmento."),
            ("ted_2_0", "Another talk.", "Otra charla."),
            ("ted_2_1", "(Applause)", ""),
        )
    ]
    assert [(each.start, each.seconds) for each in utterances[:3]] == [
        (0.25, 1.0), (1.5, 1.0), (0.5, 0.75),
    ]  # fmt: skip
    assert {each.speaker for each in utterances} == {"spk.1", "spk.2"}
    with caplog.at_level(logging.WARNING):
        rows = import_corpus(utterances, tmp_path / "out", jobs=2)
    # The texts stand in all splits of this folder.
    assert "4 translations are on two sides" in caplog.text
    assert rows == read_manifest(tmp_path / "out/manifest.tsv")
    # Without a text there is nothing to learn, but the sets that are measured are whole.
    assert Counter(row.split for row in rows) == {"train": 3, "dev": 4, "test": 4}
    references = (tmp_path / "out/lists/must-c.test.target").read_text()
    assert references == "Primer segmento.\nSegundo segmento.\nOtra charla.\n\n"
    second = next(row for row in rows if (row.id, row.split) == ("ted_1_1", "train"))
    samples, rate = soundfile.read(tmp_path / "out" / second.audio)
    assert (rate, samples.size, second.num_samples) == (16_000, 16_000, 16_000)
    # From 1.5 to 2.5 s: half a second of 600 Hz, half a second of 900 Hz.
    for part, hertz in ((samples[:8000], 600), (samples[8000:], 900)):
        spectrum = np.abs(np.fft.rfft(part))
        assert spectrum.argmax() * 2 == pytest.approx(hertz, abs=2)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.flac")}
    again = import_corpus(utterances, tmp_path / "out")
    assert again == rows
    assert written == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.flac")}


def test_a_test_set_alone_is_imported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    test = "tst-HE"
    root = must_c(tmp_path / "m", (test,))
    with caplog.at_level(logging.WARNING):
        found = read_must_c(root, "es", test=test)
    assert {clip.split for clip in found} == {"test"} and f"holds only {test}" in caplog.text
    arguments = ["import", "must-c", str(root), "--target", "es", "--splits", "test"]
    arguments += ["--test", test, "--output", str(tmp_path / "o")]
    assert command.main(arguments) == 0
    assert len(read_manifest(tmp_path / "o/manifest.tsv")) == 4
    with pytest.raises(DataError, match="holds none of train"):
        read_must_c(root, "es", ("train",))


def changed(fault: Callable[[list[Any]], object]) -> Callable[[Path], object]:
    """Changes the list of segments of the training part."""

    def change(folder: Path) -> None:
        listing = folder / "txt/train.yaml"
        entries = yaml.safe_load(listing.read_text())
        fault(entries)
        listing.write_text(yaml.safe_dump(entries))

    return change


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda f: (f / "txt/train.es").write_text("a\nb\n"), "train.es has 2 lines, expected 4"),
        (lambda f: (f / "wav/ted_1.wav").unlink(), "ted_1.wav, which is not there"),
        (changed(lambda e: e[0].update(wav="../wav/ted_1.wav")), "which is not there"),
        (lambda f: (f / "txt/train.yaml").write_text("- {"), "cannot read the segments"),
        (changed(lambda e: e[1].pop("offset")), "expected wav, offset and duration"),
        (lambda f: (f / "txt/train.yaml").write_text(""), "no list of segments"),
        (changed(lambda e: e[2].update(offset=9.0)), "ends at 4.00 s, the segment ted_2_1 begins"),
        (changed(lambda e: e[2].update(duration=9.0)), "begins at 0.50 s and ends at 9.50 s"),
        (changed(lambda e: e[0].update(channel=1)), "the field 'channel', which is not honoured"),
        (lambda f: (f / "wav/ted_2.wav").write_bytes(b"not audio"), "cannot read"),
    ],
)
def test_damaged_must_c(tmp_path: Path, fault: Callable[[Path], object], message: str) -> None:
    root = must_c(tmp_path / "m")
    fault(root / "en-es/data/train")
    with pytest.raises(DataError, match=message):
        import_corpus(read_must_c(root, "es"), tmp_path / "out")


@pytest.mark.parametrize(
    ("table", "old", "new", "message"),
    [
        ("covost_v2.es_en.tsv", "\tdev", "\tvalid", r"tsv:4: split 'valid'"),
        ("validated.tsv", "sentence", "text", "sentence"),
        ("covost_v2.es_en.tsv", "common_voice_es_1", "../clips/x", "not the name of a file"),
        ("validated.tsv", "up_votes", "offset", "the field 'offset', which is not honoured"),
    ],
)
def test_damaged_covost2(tmp_path: Path, table: str, old: str, new: str, message: str) -> None:
    root = covost2(tmp_path)
    text = (root / table).read_text()
    assert old in text
    (root / table).write_text(text.replace(old, new))
    with pytest.raises(DataError, match=message):
        read_covost2(root, "es", "en")


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, covost = cvss_c(tmp_path / "es-en"), covost2(tmp_path / "es")
    output = tmp_path / "out"
    arguments = ["import", "cvss-c", str(root), "--source", "es", "--output", str(output)]
    assert command.main(arguments) == 1
    assert "--covost2" in capsys.readouterr().err
    clips = read_cvss_c(root, covost, "es")
    assert brief(clips) == [
        (name, split.removesuffix("_covost"), spoken, english.lower())
        for name, split, spoken, english in CLIPS
    ]
    assert {clip.path.parent for clip in clips} == {covost / "clips"}
    assert command.main([*arguments, "--covost2", str(covost)]) == 0
    assert "4 utterances" in capsys.readouterr().out
    rows = read_manifest(output / "manifest.tsv")
    shared = attrgetter("split", "num_samples", "src_text", "tgt_text")
    assert [row.seconds for row in rows] == pytest.approx([1.1, 1.2, 1.3, 1.4], abs=0.06)
    assert (output / "lists/cvss-c.test.target").read_text() == "many thanks\n"
    # Other projects' tables of it, imported again, are the same corpus.
    for form in command.EXPORTS:
        assert command.main(["export", form, str(output)]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 3
        again = tmp_path / f"again-{form}"
        arguments = ["import", form, str(output / form), "--source", "es", "--output", str(again)]
        assert command.main(arguments) == 0
        capsys.readouterr()
        found = read_manifest(again / "manifest.tsv")
        assert list(map(shared, found)) == list(map(shared, rows))
        if form == "lhotse":
            assert [replace(row, audio="") for row in found] == [
                replace(row, audio="") for row in rows
            ]


def test_command_faults_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in ("must-c x --source es", "covost2 x", "fairseq-s2t x --source es", "lhotse x"):
        assert command.main(["import", *wrong.split(), "--output", str(tmp_path / "o")]) == 1
        message = capsys.readouterr().err
        assert message.startswith("echostream corpus: error: ") and message.count("\n") == 1
