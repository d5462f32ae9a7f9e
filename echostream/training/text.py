"""Text as the model learns to write it."""

from __future__ import annotations

import re
import unicodedata

_NOT_TEXT = re.compile(r"[^\w\s']", re.UNICODE)
_SPACE = re.compile(r"\s+")


def normalise(text: str) -> str:
    """Lower case, NFKC, without punctuation other than apostrophes inside words.

    The same is done to references before they are scored: with little more than an hour of speech
    to learn from, case and punctuation cannot be learned and would only hide the words.
    """
    text = unicodedata.normalize("NFKC", text).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    text = _NOT_TEXT.sub(" ", text.lower()).replace("_", " ")
    words = (word.strip("'") for word in _SPACE.split(text))
    return " ".join(word for word in words if word)
