"""fairseq's, StreamSpeech's and SimulEval's tables: written, read back, refused."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import kaldi_native_fbank
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.errors import DataError
from echostream.training.formats.fairseq_s2t import (
    S2TRow,
    feature_frames,
    read_s2t,
    s2t_row,
    write_s2t,
)
from echostream.training.formats.simuleval_lists import ListedUtterance, read_lists
from echostream.training.formats.streamspeech import (
    AuxiliaryRow,
    StreamSpeechRow,
    auxiliary_row,
    auxiliary_text,
    read_auxiliary,
    read_streamspeech,
    reduce_units,
    streamspeech_row,
    write_auxiliary,
    write_streamspeech,
)
from echostream.training.recipes.manifest import ManifestRow, write_lists

ROW = ManifestRow(
    id="vm-red", corpus="asterisk", split="test", audio="audio/asterisk/vm-red.flac",
    num_samples=16_000, seconds=1.0, speaker="june", src_lang="fr", tgt_lang="en",
    src_text="L'expérience, c'est \"ça\".", tgt_text="That's “it”, isn't it?", licence="x",
)  # fmt: skip

cell = st.text(st.characters(exclude_characters="\t\r\n", exclude_categories=["Cs"]), max_size=15)
ids = st.lists(st.text("abc01-_", min_size=1, max_size=6), unique=True, max_size=4)
units = st.lists(st.integers(0, 999), max_size=6)


def as_fairseq_reads(path: Path) -> list[dict[str, str | None]]:
    """fairseq's own reader: csv with these settings."""
    with path.open(encoding="utf-8") as file:
        return list(
            csv.DictReader(
                file,
                delimiter="\t",
                quotechar=None,
                doublequote=False,
                lineterminator="\n",
                quoting=csv.QUOTE_NONE,
            )
        )


@pytest.mark.parametrize("num_samples", [0, 399, 400, 559, 560, 16_000, 16_001])
def test_frames_are_kaldis(num_samples: int) -> None:
    options = kaldi_native_fbank.FbankOptions()
    bank = kaldi_native_fbank.OnlineFbank(options)
    bank.accept_waveform(16_000, np.zeros(num_samples, np.float32).tolist())
    bank.input_finished()
    assert feature_frames(num_samples) == bank.num_frames_ready


@given(ids, st.lists(st.tuples(cell, cell, cell, st.integers(0, 10**6)), min_size=4, max_size=4))
@settings(deadline=None)
def test_s2t_rows_come_back(
    tmp_path_factory: pytest.TempPathFactory,
    names: list[str],
    values: list[tuple[str, str, str, int]],
) -> None:
    path = tmp_path_factory.getbasetemp() / "train.tsv"
    rows = [
        S2TRow(name, f"a.zip:{frames}:9", frames, target, source, speaker)
        for name, (target, source, speaker, frames) in zip(names, values, strict=False)
    ]
    write_s2t(path, rows)
    assert read_s2t(path) == rows


def test_fairseq_finds_its_columns(tmp_path: Path) -> None:
    write_s2t(tmp_path / "a.tsv", [s2t_row(ROW, tmp_path)])
    (row,) = as_fairseq_reads(tmp_path / "a.tsv")
    assert row == {
        "id": "asterisk_vm-red",
        "audio": str(tmp_path.resolve() / "audio/asterisk/vm-red.flac"),
        "n_frames": "98",
        "tgt_text": "That's “it”, isn't it?",
        "src_text": "L'expérience, c'est \"ça\".",
        "speaker": "june",
        "src_lang": "fr",
        "tgt_lang": "en",
    }
    write_s2t(tmp_path / "b.tsv", [S2TRow("a", "a.wav", 16_000, "hi")])
    assert list(as_fairseq_reads(tmp_path / "b.tsv")[0]) == ["id", "audio", "n_frames", "tgt_text"]
    assert s2t_row(ROW, tmp_path, waveform=True).n_frames == 16_000


def test_columns_of_others_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("id\tn_frames\taudio\ttgt_text\tsrc_vtln\nx\t5\ta.wav\thi\t0.9\n")
    assert read_s2t(path) == [S2TRow("x", "a.wav", 5, "hi")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id\taudio\tn_frames\n", "tgt_text"),
        ("id\taudio\tn_frames\ttgt_text\nx\ta.wav\tmany\thi\n", r"a\.tsv:2: n_frames is 'many'"),
        ("id\taudio\tn_frames\ttgt_text\nx\ta.wav\t-5\thi\n", "n_frames is '-5'"),
        ("id\taudio\tn_frames\ttgt_text\nx\ta.wav\t5\n", "3 fields, expected 4"),
        ("id\taudio\tn_frames\ttgt_text\nx\ta\t5\thi\nx\tb\t5\tho\n", "'x' stands in two rows"),
        ("id\tid\taudio\tn_frames\ttgt_text\n", "each once"),
        ("", "columns"),
    ],
)
def test_damaged_tables_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "a.tsv"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_s2t(path)
    with pytest.raises(DataError, match="cannot read"):
        read_s2t(tmp_path / "missing.tsv")


def test_a_line_end_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="tgt_text holds a tab or a line end"):
        write_s2t(tmp_path / "a.tsv", [S2TRow("a", "a.wav", 1, "two\nlines")])
    with pytest.raises(DataError, match="two rows"):
        write_s2t(tmp_path / "a.tsv", [S2TRow("a", "a.wav", 1, "x")] * 2)
    assert list(tmp_path.iterdir()) == []


@given(ids, st.lists(st.tuples(cell, cell, units), min_size=4, max_size=4))
@settings(deadline=None)
def test_streamspeech_rows_come_back(
    tmp_path_factory: pytest.TempPathFactory,
    names: list[str],
    values: list[tuple[str, str, list[int]]],
) -> None:
    path = tmp_path_factory.getbasetemp() / "train.tsv"
    rows = [
        StreamSpeechRow(name, "/a.zip:1:2", 98, source, target, " ".join(map(str, each)), len(each))
        for name, (source, target, each) in zip(names, values, strict=False)
    ]
    write_streamspeech(path, rows)
    assert read_streamspeech(path) == rows
    header = path.read_text(encoding="utf-8").split("\n", 1)[0]
    assert header == "id\tsrc_audio\tsrc_n_frames\tsrc_text\ttgt_text\ttgt_audio\ttgt_n_frames"
    auxiliary = [AuxiliaryRow(row.id, row.tgt_text) for row in rows]
    write_auxiliary(path, auxiliary)
    assert read_auxiliary(path) == auxiliary


def test_a_streamspeech_row(tmp_path: Path) -> None:
    row = streamspeech_row(ROW, tmp_path, units=[63, 63, 7, 7, 7, 63])
    assert (row.id, row.src_n_frames) == ("asterisk_vm-red", 98)
    assert (row.tgt_audio, row.tgt_n_frames) == ("63 7 63", 3)
    assert streamspeech_row(ROW, tmp_path).tgt_n_frames == 0


@given(units)
@settings(deadline=None)
def test_units_are_reduced(each: list[int]) -> None:
    reduced = reduce_units(each)
    assert all(first != second for first, second in zip(reduced, reduced[1:], strict=False))
    assert reduce_units(reduced) == reduced
    assert set(reduced) == set(each)


def test_a_wrong_count_of_units_is_refused(tmp_path: Path) -> None:
    row = replace(streamspeech_row(ROW, tmp_path, units=[1, 2]), tgt_n_frames=3)
    write_streamspeech(tmp_path / "a.tsv", [row])
    with pytest.raises(DataError, match="2 units, tgt_n_frames says 3"):
        read_streamspeech(tmp_path / "a.tsv")


def test_auxiliary_texts() -> None:
    # The example is from StreamSpeech's own data.
    assert auxiliary_text("L'expérience,  « bon » !") == "lexpérience bon"
    row = auxiliary_row(ROW, lambda text: [f"▁{word}" for word in text.split()])
    assert row == AuxiliaryRow("asterisk_vm-red", "▁thats ▁it ▁isnt ▁it")
    source = auxiliary_row(ROW, str.split, target=False)
    assert source.tgt_text == "lexpérience cest ça"


@given(st.lists(st.tuples(cell.filter(bool), cell), min_size=1, max_size=4))
@settings(deadline=None)
def test_simuleval_lists_come_back(
    tmp_path_factory: pytest.TempPathFactory, texts: list[tuple[str, str]]
) -> None:
    root = tmp_path_factory.mktemp("lists")
    # SimulEval reads lines; what Python's splitlines() takes for one must not end one here.
    rows = [
        replace(ROW, id=str(n), audio=f"{n}.flac", src_text=source, tgt_text=target)
        for n, (source, target) in enumerate(texts)
    ]
    for row in rows:
        (root / row.audio).write_bytes(b"")
    write_lists(root / "lists", rows, root)
    kinds = ("wav_list", "target", "source_text")
    found = read_lists(*(root / f"lists/asterisk.test.{kind}" for kind in kinds))
    assert found == [
        ListedUtterance(root.resolve() / row.audio, row.tgt_text, row.src_text) for row in rows
    ]


def test_lists_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    source, target = tmp_path / "wav_list", tmp_path / "target"
    source.write_text(f"{tmp_path}/a.flac\n")
    target.write_text("one\ntwo\n")
    with pytest.raises(DataError, match="1 lines.*2; expected as many"):
        read_lists(source, target)
    target.write_text("one\n")
    with pytest.raises(DataError, match="names 1 recordings that are not there"):
        read_lists(source, target)
