"""The pools behind one thread of their own."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

from echostream.errors import EchoStreamError, StreamClosedError
from echostream.hosts.pool import Detached, Served, StreamPool
from echostream.hosts.server.meter import Meter
from echostream.hosts.server.stream import OnServed, Stream
from echostream.hosts.server.voices import Voices
from echostream.session import Step

_log = logging.getLogger(__name__)


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
        self._errands: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
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

    async def open(
        self,
        source: str | None,
        target: str | None,
        on_served: OnServed,
        detached: Detached | None = None,
    ) -> Stream:
        """A stream of the given languages, or one that goes on.

        Raises:
            ConfigError: for languages that the model does not have.
        """
        pool, number = await self.hear(self._voices.open, source, target, detached)
        stream = Stream(self, pool, number, on_served)
        self._streams[pool, number] = stream
        self.meter.streams = len(self._streams)
        self.meter.opened += detached is None
        self.wake()
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
        stream.left()

    def behind_s(self) -> float:
        """Audio that waits in the stream that waits most."""
        return max((each.waiting_ms for each in self._streams.values()), default=0) / 1000

    async def hear(self, work: Callable[..., Any], *arguments: object) -> Any:
        """Do what takes a moment outside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._ears, work, *arguments)

    async def between_batches(self, work: Callable[..., Any], *arguments: object) -> Any:
        """Do something while no batch runs, and all that was computed before has been told."""
        errand: Future[Any] = Future()
        self._errands.put((errand, lambda: work(*arguments)))
        self.wake()
        return await asyncio.wrap_future(errand)

    def wake(self) -> None:
        """There may be something to compute."""
        self._ready.set()

    def _run(self) -> None:
        while not self._stopping:
            self._ready.wait()
            self._ready.clear()
            while not self._stopping and any(
                [self._run_errands(), *(self._batch(pool) for pool in self._voices.pools)]
            ):
                pass

    def _run_errands(self) -> bool:
        """Do what is to be done between batches; whether there was anything."""
        count = self._errands.qsize()
        for _ in range(count):
            errand, work = self._errands.get()
            try:
                errand.set_result(work())
            except Exception as error:
                errand.set_exception(error)
        return count > 0

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
