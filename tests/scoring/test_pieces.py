from __future__ import annotations

from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.errors import DataError
from echostream.scoring.pieces import (
    certain_ends,
    join_pieces,
    load_tokenizer,
    tokenized_ends,
    word_ends,
)


@pytest.mark.parametrize(
    ("pieces", "text", "ends"),
    [
        ([], "", []),
        (["▁the", "▁c", "at"], "the cat", [0, 2]),
        (["th", "e", "▁cat"], "the cat", [1, 2]),
        (["▁", "the", "▁", "c", "at"], "the cat", [1, 4]),
        (["▁the", "▁cat", "▁"], "the cat", [0, 1]),
        (["▁", "▁"], "", []),
        # a piece that ends a word and begins the next, and one of two whole words
        (["▁of▁th", "e▁", "▁cat"], "of the cat", [0, 1, 2]),
        (["▁of▁the", "re"], "of there", [0, 1]),
    ],
)
def test_word_ends(pieces: list[str], text: str, ends: list[int]) -> None:
    assert join_pieces(pieces) == text
    assert word_ends(pieces) == ends


def test_certain_ends() -> None:
    # as many pieces as words
    assert certain_ends(" a b", [[1.0, 2.0]]) == [0, 1]
    # one more: "a" ends with piece 1 or 2, which were written together; "b" with the last
    assert certain_ends(" a b", [[1.0, 1.0, 2.0]]) == [1, 2]
    assert certain_ends(" a b", [[1.0, 2.0, 2.0]]) is None
    # the elapsed times tell two writes at the same delay apart
    assert certain_ends(" a b", [[1.0, 1.0, 2.0], [1.1, 1.2, 2.1]]) is None
    # a space at the end: the last piece may be it
    assert certain_ends(" a b ", [[1.0, 1.0, 2.0]]) is None
    assert certain_ends(" a b ", [[1.0, 2.0, 2.0]]) is None
    assert certain_ends(" a b ", [[1.0, 1.0, 1.0]]) == [1, 2]
    assert certain_ends(" a b", [[1.0]]) is None
    assert certain_ends("", [[]]) == []


@settings(deadline=None, max_examples=300)
@given(st.lists(st.lists(st.sampled_from(["a", "bc", "d"]), min_size=1, max_size=3), max_size=4))
def test_ends_that_are_certain_are_right(words: list[list[str]]) -> None:
    pieces = [
        ("▁" if position == 0 else "") + part
        for word in words
        for position, part in enumerate(word)
    ]
    right = word_ends(pieces)
    text = "".join(pieces).replace("▁", " ")
    for split in range(len(pieces) + 1):
        times = [1.0] * split + [2.0] * (len(pieces) - split)
        found = certain_ends(text, [times])
        if found is not None:
            assert [times[end] for end in found] == [times[end] for end in right]
    assert tokenized_ends(text, len(pieces), lambda _: pieces) == right


def test_tokenized_ends_must_fit() -> None:
    def tokenize(text: str) -> list[str]:
        return ["▁a", "b", "▁c"]

    assert tokenized_ends(" ab c", 3, tokenize) == [1, 2]
    assert tokenized_ends(" ab c", 4, tokenize) is None
    assert tokenized_ends(" abc", 3, tokenize) is None


def test_a_real_vocabulary(tmp_path: Path) -> None:
    sentences = iter(["the cat sat on the mat", "a cat and a dog sat there"] * 20)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=sentences,
        model_prefix=str(tmp_path / "tiny"),
        vocab_size=18,
        minloglevel=2,
    )
    tokenize = load_tokenizer(tmp_path / "tiny.model")
    pieces = tokenize(" the dog sat")
    assert len(pieces) > 3
    assert tokenized_ends(" the dog sat", len(pieces), tokenize) == word_ends(pieces)


def test_a_vocabulary_that_cannot_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "bad.model").write_bytes(b"no model")
    for name in ("bad.model", "none.model"):
        with pytest.raises(DataError, match=f"{name}: cannot be loaded"):
            load_tokenizer(tmp_path / name)
