"""A stream as an event loop speaks to it.

Legend: n samples of a piece of audio.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from echostream.errors import StreamClosedError
from echostream.hosts.pool import Detached, Served, StreamPool
from echostream.hosts.server.options import MAX_AHEAD_MS

if TYPE_CHECKING:
    from echostream.hosts.server.engine import Engine

OnServed = Callable[[Served, tuple[str, ...]], None]
"""Takes what a stream got, and the words behind it that may still change."""


class Stream:
    """One stream; all of it belongs to the event loop.

    Args:
        engine: which computes it.
        pool: it is in.
        number: of it there.
        on_served: told of each chunk, in order, in the event loop.
    """

    def __init__(self, engine: Engine, pool: StreamPool, number: int, on_served: OnServed) -> None:
        self._engine, self.pool, self.number = engine, pool, number
        self._on_served = on_served
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._moved = asyncio.Event()
        self._whole_since: float | None = None

    @property
    def is_whole(self) -> bool:
        """Whether a chunk waits."""
        return self.waiting_ms >= self._engine.chunk_ms

    @property
    def waiting_ms(self) -> int:
        """Audio that was pushed and not encoded; nothing of a stream that is over."""
        try:
            return self.pool.waiting_ms(self.number)
        except StreamClosedError:
            return 0

    async def push(self, samples: NDArray[Any], rate: int) -> None:
        """More audio ``[n]``, at most a second; waits while there is much of it already.

        Raises:
            StreamClosedError: if the stream is over.
            AudioFormatError: for audio that cannot be used.
        """
        duration = 1000 * len(samples) / rate
        while self.pool.waiting_ms(self.number) + duration > MAX_AHEAD_MS:
            self._moved.clear()
            await self._moved.wait()
        await self._engine.hear(self.pool.push, self.number, samples, rate)
        self._wake()

    async def finish(self) -> None:
        """The source has ended; what is left comes, and then :attr:`ended`."""
        await self._engine.hear(self.pool.finish, self.number)
        self._wake()
        await self.ended

    async def detach(self) -> Detached:
        """Take it out of the pool once all that was computed of it has been told.

        Raises:
            StreamClosedError: if it is over.
        """
        detached: Detached = await self._engine.between_batches(self.pool.detach, self.number)
        self._engine.forget(self)
        return detached

    def close(self) -> None:
        """Drop it, at whatever point it is."""
        with contextlib.suppress(StreamClosedError):  # It came to its end by itself.
            self.pool.close(self.number)
        self._engine.forget(self)

    def left(self) -> None:
        """It is not in the pool any more; who waits for room finds that out."""
        self._moved.set()

    def served(self, served: Served, tail: tuple[str, ...]) -> None:
        """Take what a batch gave."""
        now = time.monotonic()
        late = 0.0 if self._whole_since is None else now - self._whole_since
        compute = sum(served.step.costs.values()) / 1000
        self._engine.meter.served(late, compute, len(served.words))
        self._whole_since = None
        self._moved.set()
        self._on_served(served, tail)
        if served.finished:
            self._engine.forget(self)
            if not self.ended.done():
                self.ended.set_result(None)
        elif self.is_whole:
            self._whole_since = now

    def _wake(self) -> None:
        if self._whole_since is None and self.is_whole:
            self._whole_since = time.monotonic()
        self._engine.wake()
