"""Which server a stream goes to."""

import hashlib
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

REMEMBERED = 100_000
"""Streams, the latest; one that is forgotten is chosen for anew."""

_LEAST_ROOM = 0.01


@dataclass(frozen=True)
class Seen:
    """A server as it was a moment ago."""

    url: str
    """Of its WebSocket, ``ws://HOST:PORT/``."""
    node: str
    """Of the Ray cluster."""
    load: float
    """Of 1."""
    refusal: str | None
    """Why it takes nobody now."""
    about: dict[str, Any]
    """What its ``/about`` answers."""


class Choice:
    """Remembers where each stream is; changes in place.

    A new stream goes to a server in proportion to the room that it has, drawn by rendezvous
    hashing: many that come at once are shared out, and who asks for a name gets the same answer
    while loads are the same.
    """

    def __init__(self) -> None:
        self._had: dict[bytes, str] = {}

    def __call__(self, name: str, servers: Collection[Seen]) -> Seen | None:
        """The server of the stream of this name: its own while that takes clients, or another one;
        ``None`` if there is none that does."""
        free = {each.url: each for each in servers if each.refusal is None}
        if not free:
            return None
        key = hashlib.sha256(name.encode()).digest()
        own = free.get(self._had.pop(key, ""))
        chosen = own or max(free.values(), key=lambda each: _score(key, each))
        self._had[key] = chosen.url
        if len(self._had) > REMEMBERED:
            del self._had[next(iter(self._had))]
        return chosen


def _score(key: bytes, server: Seen) -> float:
    """The greatest is that of a server with a probability in proportion to its room."""
    number = hashlib.sha256(key + server.url.encode()).digest()[:6]
    draw = (int.from_bytes(number, "big") + 0.5) / 2**48
    return max(1.0 - server.load, _LEAST_ROOM) / -math.log(draw)
