"""Where speech is, and where a pause ends a segment of it.

A text decoder was trained on recordings of a few sentences. Between two pauses it is given just
that, in streams of any length.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Part:
    """Frames ``begin`` to ``end`` of a chunk, and how the segment stands after them."""

    begin: int
    end: int
    after: Speaking
    is_last: bool
    """Whether a pause ends the segment after them."""


def parts_of(has_speech: Sequence[bool], speaking: Speaking, pause: int) -> list[Part]:
    """A chunk in parts, each but the last of which ends a segment.

    Args:
        has_speech: of each frame of the chunk.
        speaking: before it.
        pause: so many frames without speech end a segment; 0 for none.
    """
    parts: list[Part] = []
    begin = 0
    for place, speech in enumerate(has_speech, start=1):
        spoken, silent = speaking.spoken + speech, 0 if speech else speaking.silent + 1
        is_pause = 0 < pause <= silent
        speaking = Speaking(0 if is_pause and spoken < LEAST else spoken, silent)
        if is_pause and speaking.has_begun:
            parts.append(Part(begin, place, speaking, True))
            begin, speaking = place, Speaking()
    if begin < len(has_speech):
        parts.append(Part(begin, len(has_speech), speaking, False))
    return parts
