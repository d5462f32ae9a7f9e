"""Which side of the split an utterance belongs to, and the check that none leaks.

The key is the English text, so the Spanish, French and English recordings of one sentence, in any
corpus, are on the same side.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Literal, Protocol

from echostream.errors import DataError

Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")
BUCKETS = 20
TEST_BUCKETS = (0, 1)
DEV_BUCKETS = (2,)


class SplitRow(Protocol):
    """What `leak_check` needs to know of an utterance."""

    @property
    def id(self) -> str: ...
    @property
    def corpus(self) -> str: ...
    @property
    def split(self) -> str: ...
    @property
    def english(self) -> str: ...


def normalise_english(text: str) -> str:
    """Lower case, punctuation but the apostrophe replaced by a space, white space collapsed."""
    return " ".join(re.sub(r"[^\w\s']", " ", text.lower()).split())


def split_of(english: str) -> Split:
    """The split of an English text: sha1 of its normal form modulo 20; 0 and 1 are test, 2 dev."""
    digest = hashlib.sha1(normalise_english(english).encode("utf-8"), usedforsecurity=False)
    bucket = int.from_bytes(digest.digest(), "big") % BUCKETS
    if bucket in TEST_BUCKETS:
        return "test"
    return "dev" if bucket in DEV_BUCKETS else "train"


def leak_check(rows: Iterable[SplitRow]) -> None:
    """Raises `DataError` when one normalised English text is on two sides of the split."""
    seen: dict[str, SplitRow] = {}
    for row in rows:
        key = normalise_english(row.english)
        first = seen.setdefault(key, row)
        if first.split != row.split:
            raise DataError(
                f"the English text {key!r} is on two sides of the split: "
                f"{first.corpus}/{first.id} in {first.split}, "
                f"{row.corpus}/{row.id} in {row.split}; "
                "expected one side per text; build the manifests again with the recipe"
            )
