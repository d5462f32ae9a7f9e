"""Tables of recordings: the recipe's, StreamSpeech's, fairseq's."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from echostream.errors import ConfigError, DataError
from echostream.training.corpus.manifest import read_manifest, write_manifest
from echostream.training.corpus.utterances import (
    Utterance,
    parse_names,
    parse_repeat,
    read_corpus,
    repeated,
    select,
)


def test_the_manifest_is_read_with_normalised_texts(corpus: Path) -> None:
    utterances = read_corpus(corpus)
    assert [u.split for u in utterances] == ["train"] * 8 + ["dev"] * 2
    assert utterances[0].source_text == "uno dos tres cuatro"
    assert utterances[0].audio == corpus / "0.wav" and utterances[0].seconds == 0.5


def test_corpora_are_chosen_by_name(corpus: Path) -> None:
    rows = read_manifest(corpus / "manifest.tsv")
    named = [replace(row, corpus="d" if row.id in "01" else "c") for row in rows]
    write_manifest(corpus / "manifest.tsv", named)
    assert [u.id for u in read_corpus(corpus, parse_names(" d, "))] == ["0", "1"]
    assert read_corpus(corpus, ["c", "d"]) == read_corpus(corpus, parse_names(""))
    with pytest.raises(ConfigError, match="'e'; expected one of c, d"):
        read_corpus(corpus, ["c", "e"])


def test_streamspeech_tables_are_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    header = "id\tsrc_audio\tsrc_n_frames\tsrc_text\ttgt_text\ttgt_audio\ttgt_n_frames"
    rows = [
        "a\tfbank80.zip:39:64128\t200\tEl 'Rey', sí.\tThe king!\t5 7 5\t3",
        "b\tb.zip:1:2\t9\t\t\t\t0",
    ]
    for split in ("train", "dev"):
        (tmp_path / f"{split}.tsv").write_text("\n".join([header, *rows]) + "\n")
    with caplog.at_level(logging.WARNING):
        first, second, empty = read_corpus(tmp_path)
    assert (first.split, second.split) == ("train", "dev")
    assert first.audio == tmp_path / "fbank80.zip" and first.slice == (39, 64128)
    assert first.num_samples == 32_000
    assert (first.source_text, first.target_text) == ("el rey sí", "the king")
    # What is measured is kept as it is; to train on there is nothing in a row without texts.
    assert (empty.split, empty.id, empty.target_text) == ("dev", "b", "")
    assert "1 recordings without a text left out" in caplog.text
    assert select([first, second], "dev") == [second]


def test_a_folder_without_tables_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="echostream data"):
        read_corpus(tmp_path)
    with pytest.raises(DataError, match="training part"):
        select([], "train")


def test_repeated_corpora_come_several_times_under_other_keys() -> None:
    one, two = (
        Utterance(name, corpus, "train", Path(name), 16000, "a", "b")
        for name, corpus in (("x", "asterisk"), ("y", "espeak"))
    )
    assert [u.key for u in repeated([one, two], parse_repeat("asterisk=3"))] == [
        "asterisk/x",
        "asterisk/x#1",
        "asterisk/x#2",
        "espeak/y",
    ]
    assert repeated([one, two], parse_repeat(" ")) == [one, two]


def test_wrong_repeats_are_refused() -> None:
    for text in ("asterisk", "asterisk=0", "=2", "asterisk=-1", "asterisk=x"):
        with pytest.raises(ConfigError, match="CORPUS=TIMES"):
            parse_repeat(text)
    one = Utterance("x", "asterisk", "train", Path("x"), 16000, "a", "b")
    with pytest.raises(ConfigError, match="one of asterisk"):
        repeated([one], {"asterix": 2})
