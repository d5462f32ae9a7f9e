"""Sentences with their translations: cleaned, sided by the split rule, kept in ``texts.tsv``.

A pair is always (English, other language); which of the two is spoken is the recipe's matter.
"""

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from echostream.errors import DataError
from echostream.training.corpus.clip import collapse_spaces
from echostream.training.corpus.manifest import ManifestRow
from echostream.training.corpus.split import SPLITS, normalise_english, split_of
from echostream.training.corpus.tab_separated import read_table, write_table

MIN_WORDS, MAX_WORDS = 3, 20
"""English words of a sentence."""
MAX_OTHER_WORDS = 26
"""Words of the translation: Spanish and French take up to a quarter more than English."""
MAX_LETTER_RATIO = 2.2
"""Letters of the longer side by those of the shorter: above it one side says more."""
PLAIN = re.compile(r"[A-Za-zÀ-ÖØ-öø-ÿŒœŸ \"'“”‘«»¡¿.,;:!?…—–-]+")
"""What a cleaned text may hold: no digits, markup, format marks or other scripts."""
SENTENCE_END = re.compile(r"(?<=[.!?…])([\"”»']?)\s+(?=[\"“«'¡¿]?[A-ZÀ-ÖØ-Þ])")
DRAWN_OUT = re.compile(r"([^\W\d_])\1\1", re.IGNORECASE)
"""A letter three times: a cry rather than a word."""


@dataclass(frozen=True)
class SentencePair:
    """One sentence; the fields are the columns of ``texts.tsv``.

    ``id`` is made of the source's name and the English text, so it is the same in every language
    and every run; ``split`` follows from the English text.
    """

    id: str
    split: str
    licence: str
    english: str
    other: str

    def text(self, language: str) -> str:
        """The side in this language; every code but "en" names the other side."""
        return self.english if language == "en" else self.other


COLUMNS = tuple(field.name for field in fields(SentencePair))


def loose_key(text: str) -> str:
    """What two writings of a sentence share: letters and digits without case, marks and accents.

    Looser than the split rule's normal form, which keeps apostrophes and accents: "don’t" and
    "don't" are one word here, and so are "está" and the "esta" of transcripts without accents.
    """
    flat = unicodedata.normalize("NFKD", normalise_english(text.replace("’", "'")))
    return "".join(c for c in flat if c.isalnum() or c == " ")


def sentence_pair(source: str, licence: str, english: str, other: str) -> SentencePair:
    """A pair with its id and side."""
    digest = hashlib.sha1(normalise_english(english).encode(), usedforsecurity=False).hexdigest()
    return SentencePair(f"{source}-{digest[:12]}", split_of(english), licence, english, other)


def clean_pairs(original: str, translation: str) -> list[tuple[str, str]]:
    """The usable sentences of one message, as (English, other).

    A message within the length limit stays whole. A longer one is cut into sentences where both
    sides have equally many, and runs of short sentences are joined again up to the limit.
    """
    english, other = _tidy(original), _tidy(translation)
    if len(english.split()) <= MAX_WORDS:
        return [(english, other)] if usable_pair(english, other) else []
    left, right = split_sentences(english), split_sentences(other)
    joined: list[tuple[str, str]] = []
    for first, second in zip(left, right, strict=True) if len(left) == len(right) else ():
        if joined and len(joined[-1][0].split()) + len(first.split()) <= MAX_WORDS:
            joined[-1] = (f"{joined[-1][0]} {first}", f"{joined[-1][1]} {second}")
        else:
            joined.append((first, second))
    return [pair for pair in joined if usable_pair(*pair)]


def _tidy(text: str) -> str:
    """One line of composed characters with typewriter apostrophes."""
    text = unicodedata.normalize("NFC", text).replace("’", "'").replace("...", "…")
    return collapse_spaces(text)


def usable_pair(english: str, other: str) -> bool:
    """Whether both sides are plain sentences of the same content as far as their form tells."""
    sizes = sorted(sum(c.isalpha() for c in text) for text in (english, other))
    return (
        MIN_WORDS <= len(normalise_english(english).split()) <= MAX_WORDS
        and 1 <= len(normalise_english(other).split()) <= MAX_OTHER_WORDS
        and loose_key(english) != loose_key(other)  # translated
        and all(map(PLAIN.fullmatch, (english, other)))
        and not any(DRAWN_OUT.search(text) or text.isupper() for text in (english, other))
        and 0 < sizes[1] <= MAX_LETTER_RATIO * sizes[0]
    )


def split_sentences(text: str) -> list[str]:
    """The text cut after marks of a sentence's end that are followed by a capital."""
    return SENTENCE_END.sub(r"\1\n", text).split("\n")


def unique(pairs: Iterable[SentencePair]) -> list[SentencePair]:
    """The first pair of each English text."""
    found: dict[str, SentencePair] = {}
    for pair in pairs:
        found.setdefault(normalise_english(pair.english), pair)
    return list(found.values())


def without_crossings(
    pairs: Sequence[SentencePair], human: Iterable[ManifestRow]
) -> list[SentencePair]:
    """The pairs of which neither side is said on another side of the split.

    The split rule looks at the English text alone; one sentence with two translations could be in
    train by the one and in test by the other. Of pairs that share a text the test side stays, then
    dev, then train; a text of the human recordings on another side always removes the pair.
    """
    recorded: dict[str, set[str]] = defaultdict(set)
    for row in human:
        for text in (row.src_text, row.tgt_text):
            recorded[loose_key(text)].add(row.split)
    keys = [(loose_key(pair.english), loose_key(pair.other)) for pair in pairs]
    written: dict[str, str] = {}
    for split in SPLITS:  # the last that has the text keeps it
        own = [both for both, pair in zip(keys, pairs, strict=True) if pair.split == split]
        written |= dict.fromkeys((key for both in own for key in both), split)
    return [
        pair
        for both, pair in zip(keys, pairs, strict=True)
        if all(written[key] == pair.split and recorded[key] <= {pair.split} for key in both)
    ]


def write_texts(path: Path, pairs: Iterable[SentencePair]) -> None:
    """Writes ``texts.tsv``. Cleaned texts hold no tabs or line ends."""
    write_table(path, COLUMNS, [asdict(pair) for pair in pairs])


def read_texts(path: Path) -> list[SentencePair]:
    """The pairs of ``texts.tsv``, checked: columns, sides. Raises `DataError`."""
    pairs = []
    for number, cells in read_table(path, COLUMNS):
        pair = SentencePair(**{column: cells[column] for column in COLUMNS})
        side = split_of(pair.english)
        if pair.split != side:
            raise DataError(
                f"{path}:{number}: {pair.english!r} is in {pair.split!r}, its key says {side!r}; "
                "delete the file and run again"
            )
        pairs.append(pair)
    return pairs
