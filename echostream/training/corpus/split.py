"""Which side of the split an utterance belongs to.

The key is the English text, so the Spanish, French and English recordings of one sentence, in any
corpus, are on the same side.
"""

import hashlib
import re
from typing import Literal

Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")
BUCKETS = 20
TEST_BUCKETS = (0, 1)
DEV_BUCKETS = (2,)


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
