"""lhotse's cuts: rows come back, lhotse agrees where it is installed."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.errors import DataError
from echostream.training.formats.lhotse_cuts import cut_of, read_cuts, row_of, write_cuts

from .test_tables import ROW

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=15)


@given(st.lists(st.tuples(text, text, st.integers(1, 10**7)), max_size=4), st.booleans())
@settings(deadline=None)
def test_rows_come_back(
    tmp_path_factory: pytest.TempPathFactory,
    values: list[tuple[str, str, int]],
    compressed: bool,
) -> None:
    root = tmp_path_factory.getbasetemp()
    path = root / ("cuts.jsonl.gz" if compressed else "cuts.jsonl")
    rows = [
        replace(ROW, src_text=source, tgt_text=target, num_samples=size,
                seconds=round(size / 16_000, 4))
        for source, target, size in values
    ]  # fmt: skip
    write_cuts(path, rows, root)
    assert read_cuts(path, root) == rows
    data = path.read_bytes()
    assert (data[:2] == b"\x1f\x8b") == compressed
    lines = (gzip.decompress(data) if compressed else data).decode().split("\n")[:-1]
    assert len(lines) == len(rows) and all(json.loads(line)["type"] == "MonoCut" for line in lines)


def test_the_same_rows_give_the_same_file(tmp_path: Path) -> None:
    write_cuts(tmp_path / "a.jsonl.gz", [ROW], tmp_path)
    first = (tmp_path / "a.jsonl.gz").read_bytes()
    write_cuts(tmp_path / "a.jsonl.gz", [ROW], tmp_path)
    assert (tmp_path / "a.jsonl.gz").read_bytes() == first


def test_a_moved_folder_has_absolute_paths(tmp_path: Path) -> None:
    cut = cut_of(ROW, tmp_path / "data")
    assert row_of(cut, tmp_path / "data").audio == ROW.audio
    assert row_of(cut, tmp_path / "other").audio == str(
        tmp_path.resolve() / "data/audio/asterisk/vm-red.flac"
    )


def test_a_plain_cut_of_somebody_else(tmp_path: Path) -> None:
    cut = cut_of(ROW, tmp_path)
    del cut["custom"], cut["supervisions"][0]["custom"], cut["supervisions"][0]["speaker"]
    row = row_of(cut, tmp_path, split="dev")
    assert (row.id, row.corpus, row.split) == ("asterisk-vm-red", "lhotse", "dev")
    assert (row.src_text, row.tgt_text, row.speaker) == (ROW.src_text, "", "")


def change(cut: dict[str, Any], fault: str) -> None:
    if fault == "part":
        cut["duration"] = 0.5
    elif fault == "later":
        cut["start"] = 0.1
    elif fault == "rate":
        cut["recording"]["sampling_rate"] = 8000
        cut["duration"] = 2.0
    elif fault == "supervisions":
        cut["supervisions"] *= 2
    elif fault == "type":
        cut["type"] = "MixedCut"
    elif fault == "remote":
        cut["recording"]["sources"][0]["type"] = "url"
    elif fault == "split":
        cut["custom"]["split"] = "valid"
    else:
        del cut["recording"]


@pytest.mark.parametrize(
    "fault", ["part", "later", "rate", "supervisions", "type", "remote", "split", "recording"]
)
def test_cuts_of_another_shape_are_refused(tmp_path: Path, fault: str) -> None:
    cut = cut_of(ROW, tmp_path)
    row_of(cut, tmp_path)
    change(cut, fault)
    with pytest.raises(DataError, match="'asterisk-vm-red' cannot be used"):
        row_of(cut, tmp_path)


@pytest.mark.parametrize("content", [b"{", b"\xff", b"\x1f\x8bxx", b"[1]"])
def test_damaged_files_are_refused(tmp_path: Path, content: bytes) -> None:
    name = "a.jsonl.gz" if content.startswith(b"\x1f") else "a.jsonl"
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError):
        read_cuts(tmp_path / name, tmp_path)


def test_lhotse_reads_and_writes_the_same(tmp_path: Path) -> None:
    lhotse = pytest.importorskip("lhotse")
    audio = tmp_path / ROW.audio
    audio.parent.mkdir(parents=True)
    wave = np.sin(np.arange(16_000) / 10).astype(np.float32) / 2
    soundfile.write(audio, wave, 16_000, subtype="PCM_16")
    write_cuts(tmp_path / "a.jsonl.gz", [ROW], tmp_path)
    cuts = lhotse.CutSet.from_file(tmp_path / "a.jsonl.gz")
    (cut,) = cuts
    lhotse.validate(cut, read_data=True)
    assert cut.to_dict() == cut_of(ROW, tmp_path)
    assert cut.supervisions[0].translation == ROW.tgt_text
    assert np.abs(cut.load_audio()[0] - wave).max() < 1e-4
    cuts.to_file(tmp_path / "b.jsonl.gz")
    assert read_cuts(tmp_path / "b.jsonl.gz", tmp_path) == [ROW]
