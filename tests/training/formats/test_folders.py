"""CoVoST 2, CVSS-C and MuST-C on small folders made in their layouts."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from echostream.commands import corpus as cli
from echostream.errors import DataError
from echostream.training.formats.conversion import convert_corpus, texts_on_two_sides
from echostream.training.formats.fairseq_s2t import read_s2t
from echostream.training.formats.folders import (
    FolderUtterance,
    read_covost2,
    read_cvss_c,
    read_must_c,
)
from echostream.training.formats.lhotse_cuts import read_cuts
from echostream.training.formats.streamspeech import read_streamspeech
from echostream.training.recipes.manifest import read_manifest

CLIPS = (
    ("common_voice_es_1", "train", "Buenos días", "Good morning"),
    ("common_voice_es_2", "train_covost", "Otra \"frase\"", "Another “sentence”"),
    ("common_voice_es_3", "dev", "Hasta luego", "See you later"),
    ("common_voice_es_4", "test", "Muchas gracias", "Many thanks"),
)  # fmt: skip


def sine(seconds: float, rate: int, hertz: float = 440.0) -> np.ndarray:
    return 0.4 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def covost2(root: Path) -> Path:
    (root / "clips").mkdir(parents=True)
    validated = ["client_id\tpath\tsentence\tup_votes"]
    table = ["path\ttranslation\tsplit"]
    for number, (name, split, spoken, english) in enumerate(CLIPS, 1):
        validated.append(f"speaker{number % 2}\t{name}.mp3\t{spoken}\t2")
        table.append(f"{name}.mp3\t{english}\t{split}")
        soundfile.write(root / f"clips/{name}.mp3", sine(1 + number / 10, 48_000), 48_000)
    # Common Voice has more than CoVoST translates, and the other way round.
    validated.append("speaker9\tcommon_voice_es_9.mp3\tSin traducir\t2")
    table.append("common_voice_es_8.mp3\tInvalidated since\ttrain")
    (root / "validated.tsv").write_text("\n".join(validated) + "\n")
    (root / "covost_v2.es_en.tsv").write_text("\n".join(table) + "\n")
    return root


def cvss_c(root: Path) -> Path:
    for split in ("train", "dev", "test"):
        (root / split).mkdir(parents=True)
        lines = []
        for name, side, _, english in CLIPS:
            if side.startswith(split):
                lines.append(f"{name}.mp3\t{english.lower()}")
                soundfile.write(root / split / f"{name}.mp3.wav", sine(0.9, 24_000), 24_000)
        (root / f"{split}.tsv").write_text("\n".join(lines) + "\n")
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


def brief(utterances: list[FolderUtterance]) -> list[tuple[str, str, str, str]]:
    return [(each.id, each.split, each.src_text, each.tgt_text) for each in utterances]


def test_covost2(tmp_path: Path) -> None:
    utterances = read_covost2(covost2(tmp_path / "es"), "es", "en")
    assert brief(utterances) == [
        (name, split.removesuffix("_covost"), spoken, english)
        for name, split, spoken, english in CLIPS
    ]
    assert [each.speaker for each in utterances] == ["speaker1", "speaker0"] * 2


def test_clips_that_were_withdrawn_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = covost2(tmp_path)
    (root / "clips/common_voice_es_2.mp3").unlink()
    with caplog.at_level(logging.WARNING):
        assert len(read_covost2(root, "es", "en")) == 3
    assert "lacks 1 recordings" in caplog.text
    for clip in (root / "clips").iterdir():
        clip.unlink()
    with pytest.raises(DataError, match="none of the 4 recordings"):
        read_covost2(root, "es", "en")


def test_cvss_c(tmp_path: Path) -> None:
    root, covost = cvss_c(tmp_path / "es-en"), covost2(tmp_path / "es")
    utterances = read_cvss_c(root, covost, "es")
    assert brief(utterances) == [
        (name, split.removesuffix("_covost"), spoken, english.lower())
        for name, split, spoken, english in CLIPS
    ]
    for each in utterances:
        assert each.target_audio == root / each.split / f"{each.id}.mp3.wav"
        assert each.path.parent == covost / "clips"


def test_must_c(tmp_path: Path) -> None:
    utterances = read_must_c(must_c(tmp_path), "es")
    assert brief(utterances) == [
        (name, split, english, spanish)
        for split in ("train", "dev", "test")
        for name, english, spanish in (
            ("ted_1_0", "First segment.", "Primer segmento."),
            ("ted_1_1", "Second segment.", "Segundo segmento."),
            ("ted_2_0", "Another talk.", "Otra charla."),
        )
    ]
    assert [(each.start, each.seconds) for each in utterances[:3]] == [
        (0.25, 1.0), (1.5, 1.0), (0.5, 0.75),
    ]  # fmt: skip
    assert {each.speaker for each in utterances} == {"spk.1", "spk.2"}


def test_segments_are_cut_where_they_say(tmp_path: Path) -> None:
    utterances = read_must_c(must_c(tmp_path / "m"), "es")
    rows = convert_corpus(
        utterances, corpus="must-c", source="en", target="es", licence="x",
        output=tmp_path / "out", jobs=2,
    )  # fmt: skip
    assert rows == read_manifest(tmp_path / "out/manifest.tsv")
    assert len({row.audio for row in rows}) == 9
    second = next(row for row in rows if (row.id, row.split) == ("ted_1_1", "train"))
    samples, rate = soundfile.read(tmp_path / "out" / second.audio)
    assert (rate, samples.size, second.num_samples) == (16_000, 16_000, 16_000)
    # From 1.5 to 2.5 s: half a second of 600 Hz, half a second of 900 Hz.
    for part, hertz in ((samples[:8000], 600), (samples[8000:], 900)):
        spectrum = np.abs(np.fft.rfft(part))
        assert spectrum.argmax() * 2 == pytest.approx(hertz, abs=2)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.flac")}
    again = convert_corpus(
        utterances, corpus="must-c", source="en", target="es", licence="x", output=tmp_path / "out"
    )
    assert again == rows
    assert written == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.flac")}


def test_texts_on_two_sides_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        rows = convert_corpus(
            read_must_c(must_c(tmp_path / "m"), "es"), corpus="m", source="en", target="es",
            licence="x", output=tmp_path / "out",
        )  # fmt: skip
    # The three sentences stand in all three splits of this folder.
    assert texts_on_two_sides(rows) == 3
    assert "3 English texts are on two sides" in caplog.text


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("lines", "train.es has 3 lines, expected 4"),
        ("talk", "ted_1.wav, which is not there"),
        ("outside", "which is not there"),
        ("yaml", "cannot read the segments"),
        ("entry", "expected wav, offset and duration"),
        ("empty", "no list of segments"),
        ("missing", "cannot read the segments"),
        ("late", "ends at 4.00 s, the segment ted_2_0 begins at 9.00 s"),
        ("noise", "cannot read"),
    ],
)
def test_damaged_must_c(tmp_path: Path, fault: str, message: str) -> None:
    root = must_c(tmp_path / "m")
    folder = root / "en-es/data/train"
    listing = folder / "txt/train.yaml"
    entries = yaml.safe_load(listing.read_text())
    if fault == "lines":
        (folder / "txt/train.es").write_text("a\nb\nc\n")
    elif fault == "talk":
        (folder / "wav/ted_1.wav").unlink()
    elif fault == "outside":
        entries[0]["wav"] = "../wav/ted_1.wav"
        listing.write_text(yaml.safe_dump(entries))
    elif fault == "yaml":
        listing.write_text("- {")
    elif fault == "entry":
        del entries[1]["offset"]
        listing.write_text(yaml.safe_dump(entries))
    elif fault == "empty":
        listing.write_text("")
    elif fault == "missing":
        listing.unlink()
    elif fault == "late":
        entries[2]["offset"] = 9.0
        listing.write_text(yaml.safe_dump(entries[:3]))
        for language in ("en", "es"):
            path = folder / f"txt/train.{language}"
            path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
    else:
        (folder / "wav/ted_2.wav").write_bytes(b"not audio")
    with pytest.raises(DataError, match=message):
        convert_corpus(
            read_must_c(root, "es"), corpus="m", source="en", target="es", licence="x",
            output=tmp_path / "out",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("table", "old", "new", "message"),
    [
        ("covost_v2.es_en.tsv", "\tdev", "\tvalid", r"tsv:4: split 'valid'"),
        ("covost_v2.es_en.tsv", "path\ttranslation", "path\ttext", "translation"),
        ("validated.tsv", "sentence", "text", "sentence"),
    ],
)
def test_damaged_covost2(tmp_path: Path, table: str, old: str, new: str, message: str) -> None:
    root = covost2(tmp_path)
    text = (root / table).read_text()
    assert old in text
    (root / table).write_text(text.replace(old, new))
    with pytest.raises(DataError, match=message):
        read_covost2(root, "es", "en")


def test_names_stay_inside_the_folder(tmp_path: Path) -> None:
    root = covost2(tmp_path)
    for table in ("validated.tsv", "covost_v2.es_en.tsv"):
        text = (root / table).read_text()
        (root / table).write_text(text.replace("common_voice_es_1.mp3", "../clips/x.mp3"))
    with pytest.raises(DataError, match="not the name of a file"):
        read_covost2(root, "es", "en")


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, covost = cvss_c(tmp_path / "es-en"), covost2(tmp_path / "es")
    output = tmp_path / "out"
    arguments = ["import", "cvss-c", str(root), "--source", "es", "--output", str(output)]
    assert cli.main(arguments) == 1
    assert "--covost2" in capsys.readouterr().err
    assert cli.main([*arguments, "--covost2", str(covost)]) == 0
    assert "4 utterances" in capsys.readouterr().out
    rows = read_manifest(output / "manifest.tsv")
    assert [row.seconds for row in rows] == pytest.approx([1.1, 1.2, 1.3, 1.4], abs=0.06)
    assert (output / "lists/cvss-c.test.target").read_text() == "many thanks\n"
    for form in cli.EXPORTS:
        assert cli.main(["export", form, str(output)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 9
    assert [row.tgt_text for row in read_s2t(output / "fairseq-s2t/dev.tsv")] == ["see you later"]
    assert len(read_streamspeech(output / "streamspeech/train.tsv")) == 2
    assert read_cuts(output / "lhotse/test.jsonl.gz", output) == rows[3:]


@pytest.mark.parametrize(
    "arguments",
    [["must-c", "x", "--source", "es"], ["cvss-c", "x", "--source", "es", "--covost2", "y"],
     ["covost2", "x", "--source", "es"]],
)  # fmt: skip
def test_command_faults_are_one_line(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["import", *arguments, "--output", str(tmp_path / "o")]) == 1
    message = capsys.readouterr().err
    assert message.startswith("echostream corpus: error: ") and message.count("\n") == 1
