"""A stream as an event loop speaks to it.

Legend: n samples of a piece of audio.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from numpy.typing import NDArray

from echostream.errors import EchoStreamError
from echostream.hosts.pool import Served
from echostream.hosts.server.options import MAX_AHEAD_MS
from echostream.hosts.server.wire import Answer
from echostream.session import Step

if TYPE_CHECKING:
    from echostream.hosts.server.engine import Engine
    from echostream.hosts.server.link import Link

T = TypeVar("T")

OnServed = Callable[[Served, tuple[str, ...]], None]
"""Takes what a stream got, and the words behind it that may still change."""


class Stream:
    """One stream; all of it belongs to the event loop.

    Args:
        engine: which knows it.
        link: to the worker that computes it.
        number: of it there.
        on_served: told of each chunk, in order.
    """

    def __init__(self, engine: Engine, link: Link, number: int, on_served: OnServed) -> None:
        self._engine, self.link, self.number = engine, link, number
        self._on_served = on_served
        self._waiting_ms = 0
        self._unheard_ms = 0.0
        """On its way to the worker."""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._moved = asyncio.Event()
        self._whole_since: float | None = None

    @property
    def waiting_ms(self) -> int:
        """Audio that was pushed and not encoded; nothing of a stream that is over."""
        return self._waiting_ms + round(self._unheard_ms)

    @property
    def _is_whole(self) -> bool:
        """Whether a chunk waits for its batch."""
        return self._waiting_ms >= self._engine.chunk_ms

    async def push(self, samples: NDArray[Any], rate: int) -> None:
        """More audio ``[n]``, at most a second; waits while there is much of it already."""
        duration = 1000 * len(samples) / rate
        while self.waiting_ms + duration > MAX_AHEAD_MS:
            self._moved.clear()
            await self._moved.wait()
        self._unheard_ms += duration
        # Nobody waits for the answer, which comes after the batch that is being computed.
        then = functools.partial(self._heard, duration, time.monotonic())
        self.link.tell(self.number, "push", samples, rate, then=then)

    async def finish(self) -> None:
        """The source has ended; what is left comes, and then :attr:`ended`."""
        await self.link.ask(self.number, "finish")
        await self.ended

    async def detach(self) -> bytes:
        """Take it out of its worker once all that was computed of it has been told.

        Raises:
            StreamClosedError: if it is over.
            StateMismatchError: if a part of it cannot be saved.
        """
        try:
            detached: bytes = await self.link.ask(self.number, "detach")
        finally:
            self._engine.forget(self)
        return detached

    async def save(self, take: Callable[[bytes], T]) -> T:
        """As :meth:`detach` gives it, of one that goes on; ``take`` has it before more is told."""
        saved: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def then(answer: Answer) -> None:
            if saved.done():  # Whoever wanted it may not wait any more.
                return
            if answer.error is None:
                saved.set_result(take(answer.value))
            else:
                saved.set_exception(answer.error)

        self.link.tell(self.number, "save", then=then)
        return await saved

    def close(self) -> None:
        """Drop it, at whatever point it is."""
        self.link.tell(self.number, "close", then=lambda answer: None)
        self._engine.forget(self)

    def left(self) -> None:
        """It is not computed any more; who waits for room finds that out."""
        self._waiting_ms, self._unheard_ms = 0, 0.0
        self._moved.set()

    def waits(self, waiting_ms: int) -> None:
        """So much audio has been heard and waits."""
        self._waiting_ms = waiting_ms

    def fail(self, reason: str) -> None:
        """It cannot go on."""
        error = EchoStreamError(reason)
        self.served(Served(Step((), {}), finished=True, error=error), ())

    def served(self, served: Served, tail: tuple[str, ...]) -> None:
        """Take what a batch gave."""
        now = time.monotonic()
        late = 0.0 if self._whole_since is None else now - self._whole_since
        compute = sum(served.step.costs.values()) / 1000
        self._engine.meter.served(late, compute, len(served.words))
        self._whole_since = now if self._is_whole else None
        self._moved.set()
        self._on_served(served, tail)
        if served.finished:
            self._engine.forget(self)
            if not self.ended.done():
                self.ended.set_result(None)

    def _heard(self, duration: float, pushed_at: float, answer: Answer) -> None:
        """Audio is with the worker now."""
        if self.number not in self.link.streams:
            return
        self._unheard_ms -= duration
        if self._whole_since is None and self._is_whole:
            self._whole_since = pushed_at
        if answer.error is not None:
            self.fail(str(answer.error))
            self.close()
