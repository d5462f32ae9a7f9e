"""A prefix of the CTC prefix beam search at one frame, and the frames of its tokens.

See :mod:`echostream.decoder.ctc.prefix_search` for the search and its symbols.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from echostream.decoder.ctc.prefix_trie import NO_TOKEN, PrefixNode

IMPOSSIBLE = -math.inf
"""The logarithm of 0."""

Frames = tuple[int, Any] | None
"""Frames of a prefix's tokens as a linked list: ``(frame of the last token, those before)``."""


@dataclass(slots=True)
class Entry:
    """A prefix with its two log-probabilities: ``node``'s, or that and one more ``token``."""

    node: PrefixNode
    token: int = NO_TOKEN
    log_blank: float = IMPOSSIBLE
    log_token: float = IMPOSSIBLE
    frames_blank: Frames = None
    frames_token: Frames = None
    largest: float = IMPOSSIBLE
    """Largest term of ``log_token`` so far, the one that ``frames_token`` belongs to."""
    log_both: float = IMPOSSIBLE
    """Of the two together, as :meth:`sum_up` found it."""

    @property
    def frames(self) -> Frames:
        """Of the more probable of the two."""
        return self.frames_blank if self.log_blank >= self.log_token else self.frames_token

    def add_token_term(self, log_prob: float, frames: Frames) -> None:
        """Add a way to the prefix that ends in its last token."""
        self.log_token = log_add(self.log_token, log_prob)
        if log_prob > self.largest:
            self.largest, self.frames_token = log_prob, frames

    def sum_up(self) -> None:
        """Find :attr:`log_both`."""
        self.log_both = log_add(self.log_blank, self.log_token)


def linked(frames: tuple[int, ...]) -> Frames:
    """What :func:`unlinked` gives back."""
    links: Frames = None
    for frame in frames:
        links = (frame, links)
    return links


def unlinked(links: Frames, count: int) -> tuple[int, ...]:
    """The last ``count`` frames in order; none if no alignment leads there."""
    frames: list[int] = []
    while links is not None and len(frames) < count:
        frames.append(links[0])
        links = links[1]
    return tuple(frames[::-1])


def log_add(a: float, b: float) -> float:
    """``log(exp(a) + exp(b))``."""
    if a < b:
        a, b = b, a
    return a if b == IMPOSSIBLE else a + math.log1p(math.exp(b - a))
