from __future__ import annotations

from pathlib import Path

import pytest
import sentencepiece

from echostream.errors import DataError
from echostream.scoring.units import (
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
