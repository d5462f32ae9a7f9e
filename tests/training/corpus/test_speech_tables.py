"""fairseq's and StreamSpeech's tables: written, read back, measured, refused."""

import csv
import io
import logging
import zipfile
from dataclasses import replace
from pathlib import Path

import kaldi_native_fbank
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.errors import DataError
from echostream.training.corpus.manifest import ManifestRow
from echostream.training.corpus.speech_tables import (
    OPTIONAL,
    feature_frames,
    find_tables,
    read_speech_table,
    write_speech_table,
)
from echostream.training.corpus.utterances import read_corpus
from echostream.training.features import read_recording

ROW = ManifestRow(
    id="vm-red", corpus="asterisk", split="test", audio="audio/asterisk/vm-red.flac",
    num_samples=16_000, seconds=1.0, speaker="june", src_lang="fr", tgt_lang="en",
    src_text="L'expérience, c'est \"ça\".", tgt_text="That's “it”, isn't it?", licence="x",
)  # fmt: skip
HEADER = "id\taudio\tn_frames\ttgt_text\tsrc_text"

cell = st.text(st.characters(exclude_characters="\t\r\n", exclude_categories=["Cs"]), max_size=15)
ids = st.lists(st.text("abc01-_", min_size=1, max_size=6), unique=True, max_size=4)


@pytest.mark.parametrize("num_samples", [0, 399, 400, 559, 560, 16_000, 16_001])
def test_frames_are_kaldis(num_samples: int) -> None:
    bank = kaldi_native_fbank.OnlineFbank(kaldi_native_fbank.FbankOptions())
    bank.accept_waveform(16_000, np.zeros(num_samples, np.float32).tolist())
    bank.input_finished()
    assert feature_frames(num_samples) == bank.num_frames_ready


@given(ids, st.lists(st.tuples(cell, cell), min_size=4, max_size=4), st.booleans())
@settings(deadline=None)
def test_rows_come_back(
    tmp_path_factory: pytest.TempPathFactory,
    names: list[str],
    texts: list[tuple[str, str]],
    streamspeech: bool,
) -> None:
    path = tmp_path_factory.getbasetemp() / "train.tsv"
    rows = [
        replace(ROW, id=name, src_text=source, tgt_text=target)
        for name, (source, target) in zip(names, texts, strict=False)
    ]
    write_speech_table(path, rows, path.parent, streamspeech=streamspeech)
    found = read_speech_table(path, "train")
    assert [(clip.id, clip.src_text, clip.tgt_text) for clip, _ in found] == [
        (f"asterisk_{row.id}", row.src_text, row.tgt_text) for row in rows
    ]
    assert {num_samples for _, num_samples in found} <= {98 * 160}


def test_the_projects_find_their_columns(tmp_path: Path) -> None:
    write_speech_table(tmp_path / "a.tsv", [ROW], tmp_path)
    with (tmp_path / "a.tsv").open(encoding="utf-8") as file:
        # fairseq's own reader: csv with these settings.
        (row,) = csv.DictReader(
            file, delimiter="\t", quotechar=None, doublequote=False, lineterminator="\n",
            quoting=csv.QUOTE_NONE,
        )  # fmt: skip
    assert row == {
        **{name: getattr(ROW, name) for name in ("tgt_text", "src_text", *OPTIONAL)},
        **{"id": "asterisk_vm-red", "audio": str(tmp_path.resolve() / ROW.audio)},
        "n_frames": "98",
    }
    write_speech_table(tmp_path / "b.tsv", [ROW], tmp_path, streamspeech=True)
    header = (tmp_path / "b.tsv").read_text(encoding="utf-8").split("\n", 1)[0]
    assert header == "id\tsrc_audio\tsrc_n_frames\tsrc_text\ttgt_text\ttgt_audio\ttgt_n_frames"


def test_what_pandas_escaped_is_undone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """fairseq's recipes write tables with pandas, a backslash before quotes and backslashes."""
    line = 'x\ta.wav\t9\tShe said \\"come\\"\tC:\\\\datos a\\b\t0.9\n'
    (tmp_path / "train.tsv").write_text(f"\ufeff{HEADER}\tvtln\n{line}", encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        ((clip, _),) = read_speech_table(tmp_path / "train.tsv", "train")
    assert "not read: vtln" in caplog.text
    assert (clip.id, clip.tgt_text) == ("x", 'She said "come"')
    assert clip.src_text == "C:\\datos a\\b"


def table_of(folder: Path, kind: str, rate: int, count: str) -> list[float]:
    """A table of five recordings in files or a zip, counted in frames or samples; their lengths."""
    lengths = [2.0, 3.5, 4.0, 0.3, 0.04]
    lines, place = [HEADER], folder / "all.zip"
    with zipfile.ZipFile(place, "w", zipfile.ZIP_STORED) as archive:
        for number, seconds in enumerate(lengths):
            wave = 0.1 * np.random.default_rng(number).standard_normal(round(rate * seconds))
            frames = max(1, feature_frames(round(seconds * 16_000)))
            data = io.BytesIO()
            if kind.endswith("npy"):
                np.save(data, np.zeros((frames, 80), np.float32))
            else:
                soundfile.write(data, wave, rate, format=kind.removeprefix("zip-"))
            name = f"{number}.{kind.removeprefix('zip-').lower()}"
            if kind.startswith("zip-"):
                archive.writestr(name, data.getvalue())
                name = f"all.zip:{archive.infolist()[-1].header_offset + 30 + len(name)}:" + str(
                    len(data.getvalue())
                )
            else:
                (folder / name).write_bytes(data.getvalue())
            length = frames if count == "frames" else wave.size
            lines.append(f"u{number}\t{name}\t{length}\tone\tuno")
    (folder / "train.tsv").write_text("\n".join(lines) + "\n")
    return lengths


@pytest.mark.parametrize(
    ("kind", "rate", "count"),
    [
        ("zip-FLAC", 16_000, "samples"),
        ("zip-WAV", 8_000, "samples"),
        ("zip-OGG", 48_000, "samples"),
        ("zip-npy", 16_000, "frames"),
        ("WAV", 24_000, "samples"),
        ("WAV", 44_100, "frames"),
        ("npy", 16_000, "frames"),
    ],
)
def test_lengths_are_what_the_recordings_are(
    tmp_path: Path, kind: str, rate: int, count: str
) -> None:
    lengths = table_of(tmp_path, kind, rate, count)
    utterances = read_corpus(tmp_path)
    # Frames leave out the rest of the last window.
    error = 0.03 if count == "frames" else 0.001
    assert [u.seconds for u in utterances] == pytest.approx(lengths, abs=error)
    for utterance in utterances:
        samples, features = read_recording(utterance)
        assert (features is not None) == kind.endswith("npy")
        if samples is not None:
            assert len(samples) / 16_000 == pytest.approx(utterance.seconds, abs=error)


def test_rows_of_one_table_may_count_differently(tmp_path: Path) -> None:
    """Two rates in samples: there is no step for all of them."""
    lines = [HEADER]
    for number, rate in enumerate((16_000, 48_000)):
        soundfile.write(tmp_path / f"{number}.wav", np.zeros(rate), rate)
        lines.append(f"{number}\t{number}.wav\t{rate}\tone\tuno")
    (tmp_path / "train.tsv").write_text("\n".join(lines) + "\n")
    assert [u.seconds for u in read_corpus(tmp_path)] == [1.0, 1.0]
    (tmp_path / "train.tsv").write_text(f"{HEADER}\n0\t0.wav\t5000\tone\tuno\n")
    with pytest.raises(DataError, match="'0' is 5000.*16000 samples.*about 100 frames"):
        read_corpus(tmp_path)


def test_fairseqs_names_and_its_audio_root(tmp_path: Path) -> None:
    (tmp_path / "speech").mkdir()
    soundfile.write(tmp_path / "speech/a.wav", np.zeros(16_000), 16_000)
    (tmp_path / "config_st.yaml").write_text(f"audio_root: {tmp_path / 'speech'}\n")
    row = f"{HEADER}\nx\ta.wav\t16000\tone\tuno\n"
    for name in ("train_st.tsv", "dev_st_es_en.tsv", "tst-COMMON_st.tsv", "train_asr.tsv"):
        (tmp_path / name).write_text(row)
    assert {split: path.name for split, path in find_tables(tmp_path).items()} == {
        "train": "train_st.tsv", "dev": "dev_st_es_en.tsv", "test": "tst-COMMON_st.tsv",
    }  # fmt: skip
    found = read_corpus(tmp_path)
    assert [u.split for u in found] == ["train", "dev", "test"]
    assert {(u.audio, u.num_samples) for u in found} == {(tmp_path / "speech/a.wav", 16_000)}
    (tmp_path / "train.tsv").write_text(row)
    with pytest.raises(DataError, match=r"train.tsv and train_st.tsv for train; expected one"):
        read_corpus(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{HEADER}\nx\ta.wav\tmany\thi\tho\n", r"a\.tsv:2: n_frames is 'many'"),
        (f"{HEADER}\n\nx\ta.wav\t-5\thi\tho\n", r"a\.tsv:3: n_frames is '-5'"),
        ("id\taudio\tn_frames\ttgt_text\nx\ta\t9\thi\n", "no column src_text.*train_asr.tsv"),
        (f"{HEADER}\tchannel\nx\ta\t9\thi\tho\t1\n", "the field 'channel', which is not hon"),
        (f"{HEADER}\nx\ta\t5\thi\tho\nx\tb\t5\thi\tho\n", "'x' stands in two rows"),
        (f"{HEADER}\tid\n", "each once"),
        (
            f"{HEADER}\ttgt_lang\nx\ta\t5\thi\tho\tfr\ny\tb\t5\thi\tho\tde\n",
            r"tgt_lang is \['de', 'fr'\]",
        ),
    ],
)
def test_damaged_tables_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "a.tsv"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_speech_table(path, "train")
    with pytest.raises(DataError, match="cannot read"):
        read_speech_table(tmp_path / "missing.tsv", "train")


def test_a_line_end_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="tgt_text holds a tab or a line end"):
        write_speech_table(tmp_path / "a.tsv", [replace(ROW, tgt_text="two\nlines")], tmp_path)
    with pytest.raises(DataError, match="two rows"):
        write_speech_table(tmp_path / "a.tsv", [ROW, ROW], tmp_path)
    assert list(tmp_path.iterdir()) == []
