"""Byte-level BPE: the vocabulary of Whisper and of GPT-2.

Every token is a string of bytes, so no text is without ids, and a character may be cut between two
tokens. Text is first cut into words with their leading blank; in each the two neighbours whose
union has the lowest id are joined until none can be (ids are in the order in which training found
the tokens: Sennrich et al. 2016, Radford et al. 2019). Special tokens, ``<|es|>`` and the like,
steer a model; they are written by name and never shown.
"""

from __future__ import annotations

import functools
import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from echostream.decoder.token_file import TokenTable, read_tokens
from echostream.decoder.words import text_of, whole_characters
from echostream.errors import CheckpointError, ConfigError

END = "<|endoftext|>"
"""The special token that ends a text."""

_CACHED_WORDS = 10_000

# The endings that are words of their own, and then runs of one kind of character, each with the
# blank before it; of several blanks the last belongs to the next word. The second pattern is over
# the kinds of the characters as `_kind` has them.
_ENDING = re.compile("'(?:s|t|re|ve|m|ll|d)")
_RUN = re.compile(r" ?a+| ?0+| ?\.+|[ w]+(?![^ w])|[ w]+")


class ByteLevelTokenizer:
    """A byte-level BPE vocabulary with special tokens.

    Args:
        table: tokens and what is said of them.

    Raises:
        CheckpointError: a byte, or the token that ends a text, is missing.
    """

    def __init__(self, table: TokenTable) -> None:
        self.table = table
        self.vocab_size: int = len(table.tokens)
        self._special = {
            table.tokens[i].decode("utf-8", "replace"): i for i in sorted(table.special)
        }
        if END not in self._special:
            raise CheckpointError(
                f"the vocabulary of {self.vocab_size} tokens has no {END}; expected one of a "
                "Whisper checkpoint"
            )
        self.end: int = self._special[END]
        """Id of ``<|endoftext|>``."""
        self._ids = {
            token: i for i, token in enumerate(table.tokens) if token and i not in table.special
        }
        missing = [byte for byte in range(256) if bytes([byte]) not in self._ids]
        if missing:
            raise CheckpointError(
                f"the vocabulary has no token for {len(missing)} of the 256 bytes, the first is "
                f"{missing[0]}; expected all of them, as in every byte-level vocabulary"
            )
        silent = {i for i in range(self.vocab_size) if not table.tokens[i]}
        self.suppressed = tuple(
            sorted((silent | table.special | set(table.suppressed)) - {self.end})
        )
        """Ids that a search must never emit: no text, special (but for the end), non-speech."""
        self.suppressed_at_start = table.suppressed_at_start
        """Ids with which no text begins."""
        self.languages = table.languages
        """Codes of the languages that have a special token, by id."""
        self._encode_word = functools.lru_cache(_CACHED_WORDS)(self._joined)

    @classmethod
    def from_file(cls, path: str | Path) -> ByteLevelTokenizer:
        """Read a ``tokens.json``; raises :class:`CheckpointError` if it is not one."""
        return cls(read_tokens(path))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the tokens in the order of their ids, in hexadecimal."""
        sums = hashlib.sha256()
        for token in self.table.tokens:
            sums.update(len(token).to_bytes(4, "little") + token)
        return sums.hexdigest()

    def special(self, name: str) -> int:
        """Id of a special token such as ``<|translate|>``.

        Raises:
            ConfigError: if the vocabulary has none of that name.
        """
        if name not in self._special:
            raise ConfigError(
                f"the vocabulary has no special token {name!r}; it has "
                f"{', '.join(n for n in self._special if not _is_time(n))}"
            )
        return self._special[name]

    def language(self, code: str) -> int:
        """Id of a language's special token; raises :class:`ConfigError` for another language."""
        if code not in self.languages:
            raise ConfigError(
                f"the model knows no language {code!r}; expected one of {', '.join(self.languages)}"
            )
        return self.special(f"<|{code}|>")

    def encode(self, text: str) -> list[int]:
        """Ids of ``text``; what looks like a special token in it is text."""
        return [index for word in words_of(text) for index in self._encode_word(word)]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ``ids`` without white space at either end, special tokens and half characters."""
        return text_of(ids, self)[0].strip()

    def append(self, index: int, held: bytes) -> tuple[str, bytes]:
        """Text that one more id adds, and the bytes of a character that is not complete yet.

        Bytes that cannot become a character are dropped, and a special token drops what is held.

        Args:
            index: id.
            held: bytes that the last call returned, ``b""`` at the start.
        """
        self._check(index)
        if index in self.table.special:
            return "", b""
        return whole_characters(held + self.table.tokens[index])

    def starts_word(self, index: int) -> bool:
        """Whether the token begins with white space."""
        self._check(index)
        return self.table.tokens[index][:1].isspace()

    def _joined(self, word: str) -> tuple[int, ...]:
        parts = [bytes([byte]) for byte in word.encode("utf-8", "replace")]
        while True:
            unions = (self._ids.get(a + b) for a, b in zip(parts, parts[1:], strict=False))
            found = min(((u, at) for at, u in enumerate(unions) if u is not None), default=None)
            if found is None:
                return tuple(self._ids[part] for part in parts)
            index, at = found
            parts[at : at + 2] = [self.table.tokens[index]]

    def _check(self, index: int) -> None:
        if not 0 <= index < self.vocab_size:
            raise IndexError(
                f"token id {index} is not in a vocabulary of {self.vocab_size} tokens; expected 0 "
                f"to {self.vocab_size - 1}"
            )


def words_of(text: str) -> Iterator[str]:
    """The pieces of ``text`` that tokens do not reach across; together they are ``text``."""
    kinds = "".join(map(_kind, text))
    at = 0
    while at < len(text):
        match = _ENDING.match(text, at) or _RUN.match(kinds, at)
        end = match.end() if match else at + 1
        yield text[at:end]
        at = end


def _kind(character: str) -> str:
    """A blank, ``w`` for other white space, ``a`` letter, ``0`` number, ``.`` anything else."""
    if character == " ":
        return " "
    if character.isspace() and not "\x1c" <= character <= "\x1f":  # these are Python's own idea
        return "w"
    return {"L": "a", "N": "0"}.get(unicodedata.category(character)[0], ".")


def _is_time(name: str) -> bool:
    return name[2:-2].replace(".", "").isdigit()
