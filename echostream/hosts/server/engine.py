"""The pools behind one thread of their own, and streams that an event loop speaks to.

Legend: n samples of a piece of audio.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from numpy.typing import NDArray

from echostream.errors import EchoStreamError, StreamClosedError
from echostream.hosts.pool import Served, StreamPool
from echostream.hosts.server.meter import Meter
from echostream.hosts.server.options import MAX_AHEAD_MS
from echostream.hosts.server.voices import Voices
from echostream.session import Step

_log = logging.getLogger(__name__)

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
        self._engine.meter.audio_s += duration / 1000
        self._wake()

    async def finish(self) -> None:
        """The source has ended; what is left comes, and then :attr:`ended`."""
        await self._engine.hear(self.pool.finish, self.number)
        self._wake()
        await self.ended

    def close(self) -> None:
        """Drop it, at whatever point it is."""
        with contextlib.suppress(StreamClosedError):  # It came to its end by itself.
            self.pool.close(self.number)
        self._engine.forget(self)

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
        elif self._engine.is_whole(self):
            self._whole_since = now

    def _wake(self) -> None:
        if self._whole_since is None and self._engine.is_whole(self):
            self._whole_since = time.monotonic()
        self._engine.wake()


class Engine:
    """Computes what is ready, batch by batch, in a thread; hears audio in two more.

    Args:
        voices: what there is to choose.
        meter: is told of each chunk.
    """

    def __init__(self, voices: Voices, meter: Meter) -> None:
        self._voices, self.meter = voices, meter
        self._streams: dict[tuple[StreamPool, int], Stream] = {}
        self._ears = ThreadPoolExecutor(2, thread_name_prefix="echostream-ears")
        self._ready = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="echostream-engine", daemon=True)
        self.chunk_ms = voices.chunk_ms

    def start(self) -> None:
        """Begin, in the event loop that streams will be spoken to from."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """End the threads; streams that are open get nothing more."""
        self._stopping = True
        self._ready.set()
        await asyncio.to_thread(self._thread.join)
        self._ears.shutdown()

    async def open(self, source: str | None, target: str | None, on_served: OnServed) -> Stream:
        """A stream of the given languages.

        Raises:
            ConfigError: for languages that the model does not have.
        """
        pool, number = await self.hear(self._voices.open, source, target)
        stream = Stream(self, pool, number, on_served)
        self._streams[pool, number] = stream
        self.meter.streams, self.meter.opened = len(self._streams), self.meter.opened + 1
        return stream

    def require(self, source: str | None, target: str | None) -> None:
        """Refuse languages that the model does not have.

        Raises:
            ConfigError: if it does not.
        """
        self._voices.options_for(source, target)

    def forget(self, stream: Stream) -> None:
        """A stream is over."""
        self._streams.pop((stream.pool, stream.number), None)
        self.meter.streams = len(self._streams)
        # Who waits for room finds that it is closed.
        stream._moved.set()

    def behind_s(self) -> float:
        """Audio that waits in the stream that waits most."""
        return max((each.waiting_ms for each in self._streams.values()), default=0) / 1000

    def is_whole(self, stream: Stream) -> bool:
        """Whether a chunk of it waits."""
        return stream.waiting_ms >= self.chunk_ms

    async def hear(self, work: Callable[..., Any], *arguments: object) -> Any:
        """Do what takes a moment outside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._ears, work, *arguments)

    def wake(self) -> None:
        """There may be something to compute."""
        self._ready.set()

    def _run(self) -> None:
        while not self._stopping:
            self._ready.wait()
            self._ready.clear()
            while not self._stopping and any([self._batch(pool) for pool in self._voices.pools]):
                pass

    def _batch(self, pool: StreamPool) -> bool:
        """Compute one; whether there was anything to do."""
        if not pool.num_ready:
            return False
        try:
            served = pool.run_ready()
        except Exception as error:
            _log.exception("a batch failed; its streams are ended")
            self._loop.call_soon_threadsafe(self._fail, pool, error)
            # The pool has put them back, and would be asked again before they are closed.
            time.sleep(0.1)
            return False
        outcomes = []
        for number, outcome in served.items():
            try:
                tail = () if outcome.finished else pool.at_hand(number)
            except StreamClosedError:
                continue  # It was closed in the meantime.
            outcomes.append((number, outcome, tail))
        self._loop.call_soon_threadsafe(self._deliver, pool, outcomes)
        return True

    def _deliver(
        self, pool: StreamPool, outcomes: list[tuple[int, Served, tuple[str, ...]]]
    ) -> None:
        for number, outcome, tail in outcomes:
            stream = self._streams.get((pool, number))
            if stream is not None:
                stream.served(outcome, tail)

    def _fail(self, pool: StreamPool, error: Exception) -> None:
        """End all streams of a pool."""
        reason = EchoStreamError(f"computing failed: {type(error).__name__}: {error}")
        for stream in [each for (own, _), each in self._streams.items() if own is pool]:
            stream.served(Served(Step((), {}), finished=True, error=reason), ())
            stream.close()
        self.wake()
