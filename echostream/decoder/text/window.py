"""Which frames a decoder keeps, for recordings of any length.

The window grows to ``window`` frames and is then cut to about half of it, at the end of a sentence
that is committed if there is one there, else at a word. Words before the cut become the prompt.
What is cut depends on encoder frames and committed words alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

_SENTENCE_END = frozenset(".?!\u3002\uff1f\uff01\u2026")


@dataclass(frozen=True)
class WrittenWord:
    """A committed word whose tokens are in the prefix."""

    num_tokens: int
    frame: int
    """Encoder frame of the stream that it looked at most."""
    ends_sentence: bool


def ends_sentence(text: str) -> bool:
    """Whether a word is the last of a sentence."""
    return text.rstrip("\"'\u00bb\u201d\u2019)")[-1:] in _SENTENCE_END


def latest_cut(base: int, end: int) -> int:
    """The last frame at which the window ``base`` to ``end`` may be cut."""
    return end - (end - base) // 4


def cut(base: int, end: int, words: Sequence[WrittenWord]) -> tuple[int, int]:
    """Where the window ``base`` to ``end`` is cut: the new base, and how many words lie before it.

    The new window has between a quarter and three quarters of the frames of the old one.
    """
    length = end - base
    earliest, latest = base + length // 4, latest_cut(base, end)
    middle = base + length // 2
    best: tuple[bool, int, int, int] | None = None
    reached = base
    for count, word in enumerate(words, start=1):
        # What later words of a translation look at may lie before what this one looks at.
        reached = max(reached, word.frame + 1)
        if earliest <= reached <= latest:
            candidate = (word.ends_sentence, -abs(reached - middle), reached, count)
            best = candidate if best is None else max(best, candidate)
    if best is not None:
        return best[2], best[3]
    before = sum(1 for word in words if word.frame < middle)
    return middle, before
