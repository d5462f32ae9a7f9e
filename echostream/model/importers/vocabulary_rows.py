"""From the rows of a fairseq CTC head to those of EchoStream's.

Symbols: ``N`` SentencePiece pieces, ``S`` fairseq symbols, ``C`` channels.

fairseq numbers its symbols ``<s>`` 0, ``<pad>`` 1, ``</s>`` 2, ``<unk>`` 3, then the lines of the
dictionary file from 4 on, and StreamSpeech takes ``<s>`` as the CTC blank. EchoStream's CTC index
is the SentencePiece id, and the blank comes last, at ``N``. The published vocabularies were trained
so that SentencePiece numbers the four specials alike; others need not be, so rows go by the piece.

==========================  ==========================================
row of the new head         row of the fairseq head
==========================  ==========================================
id of a piece               that piece's: line of the dictionary + 4
id of ``<pad>``, ``</s>``   1, 2
id of the unknown piece     3
id of ``<s>``, unused ids   none: never emitted, probability 0
``N``, the blank            0, ``<s>``
==========================  ==========================================
"""

from pathlib import Path

import sentencepiece
import torch
from torch import Tensor

from echostream.errors import CheckpointError, DataError
from echostream.text import read_lines

BLANK_ROW, PAD_ROW, END_ROW, UNKNOWN_ROW = range(4)
SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
"""What fairseq puts before the first line of a dictionary."""

NO_ROW = -1
SILENT_BIAS = -1e4
"""Logit of an id without a row: its probability is exactly 0, and float16 can hold it."""

_SHOWN = 5


def load_pieces(path: str | Path) -> sentencepiece.SentencePieceProcessor:
    """Read a SentencePiece ``.model`` file; :class:`CheckpointError` if it is none."""
    try:
        model = Path(path).read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"cannot read the SentencePiece model {path}: {error.strerror}"
        ) from error
    try:
        if not model:
            raise RuntimeError("it is empty")
        return sentencepiece.SentencePieceProcessor(model_proto=model)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path} ({len(model)} bytes) is not a SentencePiece model; expected the .model file "
            "that the checkpoint was trained with, not its .vocab or .txt"
        ) from error


def read_dictionary(path: str | Path) -> list[str]:
    """The symbols of a fairseq dictionary file (``symbol count`` lines), without the specials.

    Raises:
        CheckpointError: if it cannot be read, has a line of another form, or repeats a symbol.
    """
    try:
        lines = read_lines(Path(path), "dictionary")
    except DataError as error:
        raise CheckpointError(str(error)) from error
    symbols: dict[str, None] = dict.fromkeys(SPECIALS)
    for number, line in enumerate(lines, start=1):
        symbol, _, count = line.rstrip().rpartition(" ")
        if not symbol or not count.isdigit():
            raise CheckpointError(
                f"{path} line {number} is {line!r}; expected a symbol, a blank and a count"
            )
        if symbol in symbols:
            raise CheckpointError(
                f"{path} line {number} repeats {symbol!r}; expected each symbol once and none of "
                f"{', '.join(SPECIALS)}"
            )
        symbols[symbol] = None
    return list(symbols)[len(SPECIALS) :]


def fairseq_rows(
    processor: sentencepiece.SentencePieceProcessor, symbols: list[str] | None
) -> list[int]:
    """The fairseq row of each SentencePiece id, :data:`NO_ROW` for those without.

    Args:
        processor: the SentencePiece model, ``N`` pieces.
        symbols: of the dictionary file; ``None`` for the dictionary that fairseq's own script
            writes, all pieces but the specials in the order of their ids.

    Raises:
        CheckpointError: if dictionary and SentencePiece model are not of the same vocabulary.
    """
    pieces = [processor.id_to_piece(index) for index in range(processor.vocab_size())]
    if symbols is None:
        symbols = [piece for piece in pieces if piece not in SPECIALS]
    row_of = {symbol: len(SPECIALS) + line for line, symbol in enumerate(symbols)}
    row_of |= {"<pad>": PAD_ROW, "</s>": END_ROW}
    rows, missing = [], []
    for index, piece in enumerate(pieces):
        if processor.is_unknown(index):
            rows.append(UNKNOWN_ROW)
        elif piece in row_of:
            rows.append(row_of[piece])
        else:
            rows.append(NO_ROW)
            if not (processor.is_control(index) or processor.is_unused(index)):
                missing.append(piece)
    foreign = sorted(set(symbols) - set(pieces), key=symbols.index)
    for kind, names in (("model has", missing), ("dictionary has", foreign)):
        if names:
            other = "the dictionary" if names is missing else "the SentencePiece model"
            raise CheckpointError(
                f"the {'SentencePiece ' if names is missing else ''}{kind} {len(names)} pieces "
                f"that {other} lacks ({', '.join(map(repr, names[:_SHOWN]))}); expected the two "
                "files of one vocabulary: check that source and target are not swapped"
            )
    return rows


def own_rows(size: int) -> list[int]:
    """The rows of a head of ``size`` fairseq symbols whose SentencePiece ids are fairseq's."""
    return [NO_ROW, *range(1, size)]


def reorder(values: Tensor, rows: list[int], empty: float) -> Tensor:
    """Weights ``[S, C]`` or biases ``[S]`` as ``[N + 1, ...]``, the blank last.

    Args:
        values: of the fairseq head.
        rows: from :func:`fairseq_rows`.
        empty: what an id without a row gets.
    """
    index = torch.tensor([*rows, BLANK_ROW])
    picked = values[index.clamp_min(0)]
    absent = (index == NO_ROW).view(-1, *([1] * (values.dim() - 1)))
    return picked.masked_fill(absent, empty)
