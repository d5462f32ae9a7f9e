"""Where speech is, and where a pause ends a segment of it.

A text decoder was trained on recordings of a few sentences. Between two pauses it is given just
that, in streams of any length.
"""

from collections.abc import Sequence
from dataclasses import dataclass

PAUSE = 15
"""So many encoder frames without speech end a segment."""

LEAST = 3
"""So many frames with speech are needed for one: fewer are a click."""

LEAD_IN = 10
"""Frames that are kept before speech."""


@dataclass(frozen=True)
class Speaking:
    """How a segment stands."""

    spoken: int = 0
    """Frames with speech in it."""
    silent: int = 0
    """Frames since the last of them."""

    @property
    def has_begun(self) -> bool:
        """Whether there is speech to be decoded."""
        return self.spoken >= LEAST

    @property
    def is_over(self) -> bool:
        """Whether a pause has ended it."""
        return self.has_begun and self.silent >= PAUSE


@dataclass(frozen=True)
class Part:
    """Frames ``begin`` to ``end`` of a chunk, and how the segment stands after them."""

    begin: int
    end: int
    after: Speaking


def parts_of(has_speech: Sequence[bool], speaking: Speaking) -> list[Part]:
    """A chunk in parts, each but the last of which ends a segment.

    Args:
        has_speech: of each frame of the chunk.
        speaking: before it.
    """
    parts: list[Part] = []
    begin = 0
    for place, speech in enumerate(has_speech, start=1):
        spoken, silent = speaking.spoken + speech, 0 if speech else speaking.silent + 1
        if silent >= PAUSE and spoken < LEAST:
            spoken = 0
        speaking = Speaking(spoken, silent)
        if speaking.is_over:
            parts.append(Part(begin, place, speaking))
            begin, speaking = place, Speaking()
    if begin < len(has_speech):
        parts.append(Part(begin, len(has_speech), speaking))
    return parts
