"""What a client has not been told yet, bounded for one that reads slowly."""

import asyncio
from collections import deque

from echostream.hosts.server.messages import Written

MOST_WORDS = 10_000
"""That wait for a client: an hour and a half of speech."""


class Outbox:
    """Written words that wait become one message, so a slow reader costs what its words are."""

    def __init__(self) -> None:
        self._waiting: deque[Written | str] = deque()
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._emptied.set()

    @property
    def is_full(self) -> bool:
        """Whether more waits than a client may leave unread."""
        return sum(len(each.words) for each in self._waiting if isinstance(each, Written)) > (
            MOST_WORDS
        )

    def write(self, written: Written) -> None:
        """Words, or what may still change."""
        if self._waiting and isinstance(last := self._waiting[-1], Written):
            self._waiting[-1] = last.followed_by(written)
        else:
            self._put(written)

    def clear(self) -> None:
        """Nothing waits any more."""
        self._waiting.clear()

    def tell(self, message: str) -> None:
        """Anything else, as JSON."""
        self._put(message)

    async def take(self) -> str:
        """The next message; it counts as waiting until the one after it is asked for."""
        while not self._waiting:
            self._emptied.set()
            self._filled.clear()
            await self._filled.wait()
        first = self._waiting.popleft()
        return first.to_json() if isinstance(first, Written) else first

    async def emptied(self) -> None:
        """Wait until everything has been sent."""
        await self._emptied.wait()

    def _put(self, message: Written | str) -> None:
        self._waiting.append(message)
        self._emptied.clear()
        self._filled.set()
