"""Text without case and punctuation, for models that cannot write either."""

from __future__ import annotations

import re
import unicodedata

_NOT_TEXT = re.compile(r"[^\w\s']", re.UNICODE)


def without_marks(text: str) -> str:
    """Letters without accents, tildes and other marks: ``ñ`` to ``n``, ``ü`` to ``u``."""
    parts = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", "".join(c for c in parts if not unicodedata.combining(c)))


def normalise(text: str) -> str:
    """Lower case, NFKC, without punctuation other than apostrophes inside words.

    Training goes through it, and so do references that a model trained so is scored against: with
    few hours of speech to learn from, case and punctuation cannot be learned and would only hide
    the words.
    """
    text = unicodedata.normalize("NFKC", text).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    text = _NOT_TEXT.sub(" ", text.lower()).replace("_", " ")
    words = (word.strip("'") for word in text.split())
    return " ".join(word for word in words if word)
