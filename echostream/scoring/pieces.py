"""From times of SentencePiece pieces to times of words.

Legend: n pieces with a time each, W words of the text they make, n >= W.

A word is there when its last piece is: its time is that of its last piece. A log that keeps the
pieces (SimulEval's ``prediction_spm``) tells which that is. StreamSpeech's fork of SimulEval joins
the pieces before it writes them down and keeps the times only; there the ends of the words follow
from the vocabulary that made the pieces.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from echostream.errors import DataError

Tokenizer = Callable[[str], Sequence[str]]
"""Cuts a text into pieces, of which each that begins a word begins with :data:`WORD_BEGIN`."""

WORD_BEGIN = "\N{LOWER ONE EIGHTH BLOCK}"
"""What SentencePiece writes for a space."""


def join_pieces(pieces: Sequence[str]) -> str:
    """The text, words separated by single spaces."""
    return " ".join("".join(pieces).replace(WORD_BEGIN, " ").split())


def word_ends(pieces: Sequence[str]) -> list[int]:
    """Position of the last piece of each word of :func:`join_pieces`, counted from 0.

    Pieces that hold nothing but spaces belong to no word. A piece may hold a space inside, which
    ends one word and begins the next.
    """
    ends: list[int] = []
    in_word = False
    for position, piece in enumerate(pieces):
        for part_number, part in enumerate(piece.replace(WORD_BEGIN, " ").split(" ")):
            if part_number > 0:
                in_word = False
            if part and in_word:
                ends[-1] = position
            elif part:
                ends.append(position)
                in_word = True
    return ends


def tokenized_ends(text: str, pieces: int, tokenize: Tokenizer) -> list[int] | None:
    """Ends of the words of ``text`` if ``tokenize`` cuts it into as many pieces, else None.

    Trap: a model may write a word in other pieces than its vocabulary's tokenizer would. Where the
    numbers agree and the pieces do not, the time of a word can be that of a neighbour.
    """
    tokens = tokenize(text)
    ends = word_ends(tokens)
    if len(tokens) != pieces or len(ends) != len(text.split()):
        return None
    return ends


def load_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """The tokenizer of a SentencePiece model. Raises DataError if it cannot be loaded."""
    import sentencepiece

    try:
        processor = sentencepiece.SentencePieceProcessor(model_file=os.fspath(path))
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{os.fspath(path)}: cannot be loaded: {reason}; expected a SentencePiece model, as "
            "training writes it"
        ) from error
    return lambda text: processor.encode(text, out_type=str)
