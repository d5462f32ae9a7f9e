"""SentencePiece vocabulary: text to ids, ids to text, and what a single piece stands for.

A CTC vocabulary is a SentencePiece vocabulary of ``N`` pieces plus the blank. The blank is the
*last* index, ``N``: piece ``p`` is then CTC index ``p``, and a SentencePiece id means the same in a
manifest, a loss, a head, a search and a saved state, with no shift to forget. Losses must be told:
``torch.nn.CTCLoss(blank=blank_index(N))``, since torch's own default is 0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import sentencepiece

from echostream.decoder.words import text_of, whole_characters
from echostream.errors import CheckpointError


def blank_index(vocab_size: int) -> int:
    """CTC index of the blank for a SentencePiece vocabulary of ``vocab_size`` pieces."""
    return vocab_size


def ctc_vocab_size(vocab_size: int) -> int:
    """Size of the CTC vocabulary: ``vocab_size`` pieces and the blank."""
    return vocab_size + 1


WORD_START = "\u2581"
"""What SentencePiece writes for a blank; a piece that begins with it starts a word."""


class Tokenizer:
    """A SentencePiece model.

    Args:
        model: the serialised model, or the path of a ``.model`` file.

    Raises:
        CheckpointError: the file is missing or unreadable, the model is damaged or empty, or none
            of its pieces begins with U+2581, so that words could not be told apart.
    """

    def __init__(self, model: bytes | str | Path) -> None:
        name = "the SentencePiece model"
        if not isinstance(model, bytes):
            name = f"the SentencePiece model {str(model)!r}"
            try:
                model = Path(model).read_bytes()
            except OSError as error:
                raise CheckpointError(
                    f"cannot read {name}: {error.strerror}; expected a .model file that "
                    "SentencePiece training wrote"
                ) from error
        self.model_bytes = model
        self._processor = _load(model, name)
        self.vocab_size: int = self._processor.vocab_size()
        pieces = self.pieces
        self._starts = tuple(piece.startswith(WORD_START) for piece in pieces)
        if not any(self._starts):
            raise CheckpointError(
                f"{name} has {self.vocab_size} pieces and none begins with U+2581 (word start); "
                "expected a model trained with SentencePiece's default add_dummy_prefix=true"
            )
        self.end: int = self._processor.eos_id()
        """Id of ``</s>``, with which a text decoder ends a text; -1 without one."""
        self.suppressed = tuple(i for i in range(self.vocab_size) if self._is_silent(i))
        """Ids without text (unknown, control, unused): a search must never emit them."""
        silent = frozenset(self.suppressed)
        self._bytes = tuple(
            int(piece[3:-1], 16) if self._processor.is_byte(i) else None
            for i, piece in enumerate(pieces)
        )
        self._text = tuple(
            ""
            if i in silent or self._bytes[i] is not None
            else piece.replace(WORD_START, " ").replace("\ufffd", "")
            for i, piece in enumerate(pieces)
        )

    @classmethod
    def from_file(cls, path: str | Path) -> Tokenizer:
        """Read a ``.model`` file; raises :class:`CheckpointError` as the constructor does."""
        return cls(path)

    @property
    def pieces(self) -> list[str]:
        """All pieces, by id."""
        return [self._processor.id_to_piece(i) for i in range(self.vocab_size)]

    @property
    def blank(self) -> int:
        """CTC index of the blank: one after the last piece."""
        return blank_index(self.vocab_size)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the serialised model, in hexadecimal."""
        return hashlib.sha256(self.model_bytes).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Ids of ``text``. May hold the unknown id where the vocabulary lacks a character."""
        ids: list[int] = self._processor.encode(text)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ``ids`` without white space at either end.

        As SentencePiece's own decoding, except that unknown and control ids and bytes that are not
        valid UTF-8 give nothing instead of replacement marks.
        """
        return text_of(ids, self)[0].strip()

    def append(self, index: int, held: bytes) -> tuple[str, bytes]:
        """Text that one more id adds, with U+2581 as a blank, and the bytes still held.

        A byte piece is a part of a character. Its bytes are held until the character is complete;
        bytes that cannot become one, or are followed by another piece, are dropped.

        Args:
            index: SentencePiece id.
            held: bytes that the last call returned, ``b""`` at the start.
        """
        self._check(index)
        byte = self._bytes[index]
        if byte is None:
            return self._text[index], b""
        return whole_characters(held + bytes([byte]))

    def starts_word(self, index: int) -> bool:
        """Whether the piece begins with U+2581."""
        self._check(index)
        return self._starts[index]

    def _is_silent(self, index: int) -> bool:
        sp = self._processor
        return bool(sp.is_unknown(index) or sp.is_control(index) or sp.is_unused(index))

    def _check(self, index: int) -> None:
        if not 0 <= index < self.vocab_size:
            raise IndexError(
                f"SentencePiece id {index} is not in a vocabulary of {self.vocab_size} pieces; "
                f"expected 0 to {self.vocab_size - 1} (the CTC blank, {self.blank}, is not a piece)"
            )


def _load(model: bytes, name: str) -> sentencepiece.SentencePieceProcessor:
    advice = "expected the bytes of a .model file: copy or train it again"
    # An empty model is no error for the library, which would then log and answer with defaults.
    if not model:
        raise CheckpointError(f"{name} is empty (0 bytes); {advice}")
    try:
        return sentencepiece.SentencePieceProcessor(model_proto=model)
    except RuntimeError as error:
        raise CheckpointError(f"{name} of {len(model)} bytes is damaged; {advice}") from error
