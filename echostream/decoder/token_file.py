"""``tokens.json``: the tokens of a byte-level vocabulary, and what is said of them.

    {"format": "echostream-tokens-1",
     "tokens": ["!", "\\"", ..., "\\u0120the", ..., "<|endoftext|>", ...],    by id
     "special": [50257, ...], "languages": ["en", ...],
     "suppressed": [1, 2, 7, ...], "suppressed_at_start": [220, 50257]}

A token's bytes are written as GPT-2 writes them: a byte that is a printable character of Latin-1 is
that character, the others are the characters from U+0100 on, in order. Special tokens are written
as they are.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echostream.errors import CheckpointError
from echostream.whole_file import write_whole

FORMAT = "echostream-tokens-1"


@dataclass(frozen=True)
class TokenTable:
    """A vocabulary by id."""

    tokens: tuple[bytes, ...]
    special: frozenset[int]
    languages: tuple[str, ...] = ()
    suppressed: tuple[int, ...] = ()
    suppressed_at_start: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for field in ("special", "suppressed", "suppressed_at_start"):
            wrong = [i for i in getattr(self, field) if not 0 <= i < len(self.tokens)]
            if wrong:
                raise CheckpointError(
                    f"the vocabulary's {field} has the id {wrong[0]}; expected 0 to "
                    f"{len(self.tokens) - 1}"
                )
        named = {self.tokens[i] for i in self.special}
        for code in self.languages:
            if f"<|{code}|>".encode() not in named:
                raise CheckpointError(
                    f"the vocabulary names the language {code!r} but has no special token "
                    f"<|{code}|>"
                )


def _alphabet() -> dict[str, int]:
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(b): b for b in printable} | {chr(0x100 + n): b for n, b in enumerate(others)}


_BYTES = _alphabet()
_CHARACTERS = {byte: character for character, byte in _BYTES.items()}


def from_printable(token: str) -> bytes:
    """The bytes of a token as GPT-2 writes it.

    Raises:
        CheckpointError: for a character that stands for no byte.
    """
    try:
        return bytes(_BYTES[character] for character in token)
    except KeyError as error:
        raise CheckpointError(
            f"the token {token!r} has the character {error.args[0]!r}, which stands for no byte; "
            "expected a byte-level vocabulary"
        ) from error


def to_printable(token: bytes) -> str:
    """The reverse of :func:`from_printable`."""
    return "".join(_CHARACTERS[byte] for byte in token)


def table_of(tokens: Sequence[str], special: Sequence[int], **lists: Any) -> TokenTable:
    """A table of tokens as they are written; ``lists`` are the other fields."""
    names = frozenset(special)
    return TokenTable(
        tuple(
            text.encode() if i in names else from_printable(text) for i, text in enumerate(tokens)
        ),
        names,
        **{name: tuple(values) for name, values in lists.items()},
    )


def write_tokens(table: TokenTable, path: str | Path) -> None:
    """Write a table; :func:`read_tokens` gives it back."""
    values = {
        "format": FORMAT,
        "tokens": [
            token.decode() if i in table.special else to_printable(token)
            for i, token in enumerate(table.tokens)
        ],
        "special": sorted(table.special),
        "languages": table.languages,
        "suppressed": table.suppressed,
        "suppressed_at_start": table.suppressed_at_start,
    }
    write_whole(path, json.dumps(values, ensure_ascii=False) + "\n")


def read_tokens(path: str | Path) -> TokenTable:
    """Read a table.

    Raises:
        CheckpointError: the file is missing, is not one of these, or does not fit together.
    """
    advice = "expected a tokens.json that `echostream import-whisper` wrote; make it again"
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}; {advice}") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}; {advice}") from error
    found = values.get("format") if isinstance(values, dict) else type(values).__name__
    if found != FORMAT:
        raise CheckpointError(f"{path} has format {found!r}, not {FORMAT!r}; {advice}")
    for name, kind in _KINDS.items():
        items = values.get(name)
        if not isinstance(items, list) or not all(type(item) is kind for item in items):
            raise CheckpointError(f"{path} has no list of {kind.__name__} {name!r}; {advice}")
    try:
        return table_of(**{name: values[name] for name in _KINDS})
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


_KINDS = {
    "tokens": str,
    "special": int,
    "languages": str,
    "suppressed": int,
    "suppressed_at_start": int,
}
