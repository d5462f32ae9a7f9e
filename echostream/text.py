"""Text as every part of the project reads it: lists of lines, and texts without case and marks."""

import re
import unicodedata
from pathlib import Path

from echostream.errors import DataError

_APOSTROPHES = "\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}"
_APOSTROPHES += (
    "\N{MODIFIER LETTER APOSTROPHE}\N{HEBREW PUNCTUATION GERESH}\N{FULLWIDTH APOSTROPHE}"
)
_ZWNJ, _ZWJ = "\N{ZERO WIDTH NON-JOINER}", "\N{ZERO WIDTH JOINER}"
_INSIDE_WORDS = (
    f"'\N{MIDDLE DOT}\N{HEBREW PUNCTUATION GERSHAYIM}\N{MONGOLIAN VOWEL SEPARATOR}{_ZWNJ}{_ZWJ}"
)
"""Part of a word where letters stand on both sides; not at its ends."""

_UNSEEN = "\N{COMBINING GRAPHEME JOINER}" + "".join(map(chr, range(0xFE00, 0xFE10)))
_UNSEEN += "".join(map(chr, range(0xE0100, 0xE01F0)))
"""Combining by their category, but nobody reads them: they choose between pictures of a sign."""

_STRESS = "\N{ARMENIAN EMPHASIS MARK}\N{ARMENIAN EXCLAMATION MARK}\N{ARMENIAN QUESTION MARK}"
"""Punctuation that is written within a word and does not part it."""

_DECOMPOSED = {"\u0e4d\u0e32": "\u0e33", "\u0ecd\u0eb2": "\u0eb3"}
"""What NFKC makes of the Thai and Lao vowel AM, and how everybody writes it."""


_BEGINNING = re.compile(r"(?:^|[.!?…¿¡])\W*\w|\bi\b")
"""Of a sentence in lower case, and the English I."""


class _Invisible(dict[int, int | None]):
    """For `str.translate`: removes what has no place of its own in a word."""

    def __missing__(self, code: int) -> int | None:
        character = chr(code)
        format_mark = unicodedata.category(character) == "Cf" and character not in _INSIDE_WORDS
        removed = format_mark and character != "\N{ZERO WIDTH SPACE}"
        self[code] = None if removed or character in _UNSEEN + _STRESS else code
        return self[code]


class _Letters(dict[int, str]):
    """For `str.translate`: letters, digits, their marks, what joins them; else a space."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        kept = character.isalnum() or unicodedata.category(character) in ("Mn", "Mc")
        self[code] = character if kept or character in _INSIDE_WORDS else " "
        return self[code]


_invisible = _Invisible()
_letters = _Letters(dict.fromkeys(map(ord, _APOSTROPHES), "'"))
_letters[ord("\N{MODIFIER LETTER APOSTROPHE}")] = "\N{MODIFIER LETTER APOSTROPHE}"


def without_marks(text: str) -> str:
    """Letters without accents, tildes and other marks: ``ñ`` to ``n``, ``ü`` to ``u``.

    Marks of scripts in which they are vowels or other sounds (Devanagari, Arabic, kana, ...) stay.
    """
    parts = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", "".join(c for c in parts if not "\u0300" <= c <= "\u036f"))


def normalise(text: str) -> str:
    """Lower case, NFKC, without punctuation other than apostrophes inside words.

    Training goes through it, and so do references that a model trained so is scored against: with
    few hours of speech to learn from, case and punctuation cannot be learned and would only hide
    the words. Letters of every script keep their vowel signs and other marks, and the joiners that
    change how a word is read. The language is not known: ``I`` is ``i``, in Turkish too.
    """
    text = text.translate(_invisible)
    text = unicodedata.normalize("NFKC", _lower(text))
    # Some compatibility forms are capitals.
    text = unicodedata.normalize("NFKC", _lower(text))
    for parts, letter in _DECOMPOSED.items():
        text = text.replace(parts, letter)
    words = (_trimmed(word) for word in text.translate(_letters).split())
    return " ".join(word for word in words if word)


def sentence_case(text: str) -> str:
    """Text that is all in capitals as one writes it, each sentence with one; other text as it is.

    Letters that are spelled stay capitals, names lose theirs.
    """
    if not text.isupper() or all(len(word) == 1 for word in re.findall(r"\w+", text)):
        return text
    return _BEGINNING.sub(lambda found: found[0].upper(), _lower(text))


def _lower(text: str) -> str:
    """Lower case; the dotted capital I becomes i, not an i with a second dot."""
    return text.replace("\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}", "i").lower().replace("i̇", "i")


def _trimmed(word: str) -> str:
    """The word from its first letter or digit on, without what only stands inside words."""
    start = next((place for place, c in enumerate(word) if c.isalnum()), len(word))
    core = word[start:].rstrip(_INSIDE_WORDS)
    # After a virama the joiner is part of the last letter (Malayalam, Sinhala).
    if core and word[start + len(core) :].startswith(_ZWJ) and unicodedata.combining(core[-1]) == 9:
        core += _ZWJ
    inside = core[1:-1].replace("\N{MODIFIER LETTER APOSTROPHE}", "'")
    return core[:1] + inside + core[1:][-1:]


def read_lines(path: Path, what: str = "list") -> list[str]:
    """The lines of a UTF-8 text file, without their ends and without a byte-order mark.

    Only line feeds (with or without carriage returns before them) end a line, so a text that holds
    another of Unicode's line separators stays one; an empty last line is none.

    Raises:
        DataError: if the file cannot be read or is not UTF-8; ``what`` names its kind.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read the {what} {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"cannot read the {what} {path}: {error}; expected UTF-8 text") from error
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines[:-1] if lines[-1] == "" else lines
