"""Prefixes of a CTC beam search, and as linked nodes: extending one costs the same at any length.

The *root* is the longest prefix that all live prefixes share; what lies before it can no longer
change and is given out and forgotten. A node is kept while it is in the beam or has descendants
there, so a prefix that is reached again by another path is found to be the same prefix. See
:mod:`echostream.decoder.ctc.prefix_search` for the search and its symbols.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NO_TOKEN = -1
"""Token of the empty prefix."""

FlatNode = tuple[int, int]
"""``(row of the parent, token)``; the root comes first, with parent -1."""


class PrefixNode:
    """A prefix: its parent's prefix and one more token. Lives inside one decoder step."""

    __slots__ = ("children", "depth", "gains", "live", "parent", "token")

    def __init__(self, parent: PrefixNode | None, token: int, depth: int) -> None:
        self.parent = parent
        self.token = token
        self.depth = depth
        self.live = False
        self.children: dict[int, PrefixNode] = {}
        self.gains: NDArray[np.float64] | None = None
        """What a language model gives each token that may come next, once it was asked."""

    def add(self, token: int) -> PrefixNode:
        """The prefix with one more ``token``, made if it does not exist."""
        child = self.children.get(token)
        if child is None:
            child = PrefixNode(self, token, self.depth + 1)
            self.children[token] = child
        return child

    def discard(self) -> None:
        """Take the prefix out of the beam; forget it and its ancestors where nothing needs them."""
        self.live = False
        node = self
        while not node.live and not node.children and node.parent is not None:
            parent = node.parent
            del parent.children[node.token]
            node.parent = None
            node = parent

    def path_from(self, ancestor: PrefixNode) -> list[PrefixNode]:
        """Nodes after ``ancestor`` up to and including this one; empty if they are the same."""
        nodes = []
        node: PrefixNode | None = self
        while node is not None and node is not ancestor:
            nodes.append(node)
            node = node.parent
        return nodes[::-1]


def flatten(root: PrefixNode) -> tuple[tuple[FlatNode, ...], dict[int, int]]:
    """All nodes in a table that :func:`rebuild` reads, and the row of each by ``id(node)``.

    Rows are in the order of insertion among siblings, which rebuilding keeps: the search is then
    bit for bit the same whether or not a call ended here.
    """
    rows: list[FlatNode] = [(-1, root.token)]
    index = {id(root): 0}
    queue = [root]
    for node in queue:  # grows while it is walked: breadth first
        for child in node.children.values():
            index[id(child)] = len(rows)
            rows.append((index[id(node)], child.token))
            queue.append(child)
    return tuple(rows), index


def rebuild(rows: Sequence[FlatNode]) -> list[PrefixNode]:
    """Nodes of a table that :func:`flatten` wrote, in its order."""
    nodes = [PrefixNode(None, rows[0][1], 0)]
    for parent, token in rows[1:]:
        nodes.append(nodes[parent].add(token))
    return nodes


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
