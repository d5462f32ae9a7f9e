"""The manifest written and read back, and what is refused; the split rule."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.errors import DataError
from echostream.training.corpus.manifest import (
    COLUMNS,
    ManifestRow,
    leak_check,
    read_manifest,
    write_lists,
    write_manifest,
)
from echostream.training.corpus.split import normalise_english, split_of

from .test_speech_tables import ROW

text = st.text(st.characters(exclude_characters="\t\r\n", exclude_categories=["Cs"]), max_size=20)


@given(st.lists(st.tuples(text, text, st.integers(1, 10**7)), max_size=5))
@settings(deadline=None)
def test_rows_come_back(
    tmp_path_factory: pytest.TempPathFactory, values: list[tuple[str, str, int]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "manifest.tsv"
    rows = [
        replace(ROW, src_text=src, tgt_text=tgt, num_samples=size, seconds=round(size / 16_000, 4))
        for src, tgt, size in values
    ]
    write_manifest(path, rows)
    assert read_manifest(path) == rows
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())  # a byte-order mark
    assert read_manifest(path) == rows
    assert path.read_text("utf-8-sig").split("\n")[0].split("\t") == [
        "id", "corpus", "split", "audio", "num_samples", "seconds", "speaker", "src_lang",
        "tgt_lang", "src_text", "tgt_text", "licence",
    ]  # fmt: skip


@pytest.mark.parametrize("bad", ["two\tcells", "old\rmac"])
def test_a_field_that_breaks_the_table_is_refused(tmp_path: Path, bad: str) -> None:
    with pytest.raises(DataError, match=r"id vm-red\): tgt_text holds"):
        write_manifest(tmp_path / "m.tsv", [replace(ROW, tgt_text=bad)])
    assert list(tmp_path.iterdir()) == []


def damaged(column: str, value: str) -> str:
    values = ["a", "c", "test", "a.flac", "16000", "1.0", "s", "es", "en", "hola", "hello", "x"]
    cells = dict(zip(COLUMNS, values, strict=True))
    return "\t".join({**cells, column: value}.values())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (damaged("split", "valid"), "split 'valid'"),
        (damaged("num_samples", "many"), "many"),
        (damaged("seconds", "nan"), "do not agree"),
        ("a\tb", "2 fields, expected 12"),
        (damaged("id", "a\tb"), "13 fields, expected 12"),
    ],
)
def test_damaged_rows_are_refused(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "m.tsv"
    good = damaged("id", "b")
    path.write_text("\t".join(COLUMNS) + f"\n{good}\n")
    assert len(read_manifest(path)) == 1
    path.write_text("\t".join(COLUMNS) + f"\n{good}\n{line}\n")
    with pytest.raises(DataError, match=f"m.tsv:3.*{message}"):
        read_manifest(path)


@pytest.mark.parametrize("content", ["", "id\tcorpus\n"])
def test_other_columns_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "m.tsv"
    path.write_text(content)
    with pytest.raises(DataError, match="column"):
        read_manifest(path)
    with pytest.raises(DataError, match="echostream data es-en"):
        read_manifest(tmp_path / "none.tsv")


def test_lists_are_in_step_and_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    second = replace(ROW, id="b", audio="audio/asterisk/b.flac", src_text="Dos", tgt_text="Two")
    train = replace(second, split="train")
    write_lists(Path("out/lists"), [ROW, train, second], Path("out"))
    lists = tmp_path / "out/lists"
    assert sorted(path.name for path in lists.iterdir()) == [
        f"asterisk.{split}.{kind}"
        for split in ("test", "train")
        for kind in ("source_text", "target", "wav_list")
    ]
    root = tmp_path / "out"
    paths = [str(root / ROW.audio), str(root / "audio/asterisk/b.flac")]
    assert (lists / "asterisk.test.wav_list").read_text().splitlines() == paths
    assert (lists / "asterisk.test.target").read_text() == f"{ROW.tgt_text}\nTwo\n"
    assert (lists / "asterisk.test.source_text").read_text() == f"{ROW.src_text}\nDos\n"


# Remainders by 20 of digests that coreutils' sha1sum printed.
GOLDEN = {
    "thank you": "test",  # 0
    "the conference is now locked": "test",  # 1
    "red": "dev",  # 2
    "three": "train",  # 3
    "yes": "train",  # 4
    "don't press 1 please": "train",  # 18
}


def test_golden_sides_and_forms() -> None:
    assert {text: split_of(text) for text in GOLDEN} == GOLDEN
    forms = {
        "Don't PRESS 1,\tplease! ": "don't press 1 please",
        "Tux—the Linux mascot!": "tux the linux mascot",
        "«Ñandú», 0.50 €": "ñandú 0 50",
        "...?!": "",
    }
    assert {text: normalise_english(text) for text in forms} == forms


@pytest.mark.parametrize("source", ["es", "en"])
def test_one_english_text_on_two_sides_is_a_leak(source: str) -> None:
    def row(name: str, split: str, english: str) -> ManifestRow:
        texts = (english, "x") if source == "en" else ("x", english)
        shared = dict(zip(("src_text", "tgt_text"), texts, strict=True))
        return replace(ROW, id=name, split=split, src_lang=source, **shared)

    # The other text may be on both.
    rows = [row("a", "train", "Thank you"), row("b", "train", "thank you!"), row("c", "dev", "Red")]
    leak_check(rows)
    with pytest.raises(DataError, match="'thank you' is on two.*/a in train, asterisk/d in test"):
        leak_check([*rows, row("d", "test", "THANK YOU.")])
