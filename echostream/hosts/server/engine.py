"""The workers as the event loop speaks to them."""

import asyncio
import itertools
from collections.abc import Sequence

from echostream.hosts.languages import spoken_options
from echostream.hosts.server.link import Link
from echostream.hosts.server.meter import Meter
from echostream.hosts.server.stream import OnServed, Stream
from echostream.hosts.server.worker import Launch


class Engine:
    """Shares streams out among workers; a stream stays with its own.

    Args:
        launches: start a worker each.
        meter: is told of each chunk.
    """

    def __init__(self, launches: Sequence[Launch], meter: Meter) -> None:
        self.meter = meter
        self._links = [Link(launch) for launch in launches]
        self._numbers = itertools.count()

    @property
    def chunk_ms(self) -> int:
        """Audio of a chunk."""
        return self.facts.chunk_ms

    @property
    def works(self) -> bool:
        """Whether a worker is there."""
        return any(each.works for each in self._links)

    async def start(self) -> None:
        """Begin, in the event loop that streams will be spoken to from.

        Raises:
            EchoStreamError: for what a worker cannot begin.
        """
        first, *others = self._links
        try:
            # What has to be made once is made by the first one.
            self.facts = await first.start()
            await asyncio.gather(*(each.start() for each in others))
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the workers; streams that are open get nothing more."""
        await asyncio.gather(*(each.stop() for each in self._links))

    async def open(
        self,
        source: str | None,
        target: str | None,
        on_served: OnServed,
        saved: bytes | None = None,
    ) -> Stream:
        """A stream of the given languages, or one that goes on.

        Raises:
            ConfigError: for languages that the model does not have.
            StateMismatchError: if what was saved is damaged, or of another system.
        """
        link = min(self._links, key=lambda each: (not each.works, len(each.streams)))
        stream = Stream(self, link, next(self._numbers), on_served)
        link.streams[stream.number] = stream
        try:
            await link.ask(stream.number, "open", source, target, saved)
        except BaseException:
            self.forget(stream)
            raise
        self.meter.opened += saved is None
        self._count()
        return stream

    def require(self, source: str | None, target: str | None) -> None:
        """Refuse languages that the model does not have.

        Raises:
            ConfigError: if it does not.
        """
        spoken_options(self.facts.options, self.facts.config, source, target)

    def forget(self, stream: Stream) -> None:
        """A stream is over."""
        stream.link.streams.pop(stream.number, None)
        self._count()
        stream.left()

    def behind_s(self) -> float:
        """Audio that waits in the stream that waits most."""
        waiting = [each.waiting_ms for link in self._links for each in link.streams.values()]
        return max(waiting, default=0) / 1000

    def _count(self) -> None:
        self.meter.streams = sum(len(each.streams) for each in self._links)
