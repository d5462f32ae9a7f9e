"""One worker as the event loop speaks to it."""

import asyncio
import functools
import itertools
import logging
import socket
from collections.abc import Callable
from typing import Any

from echostream.errors import EchoStreamError
from echostream.hosts.server.stream import Stream
from echostream.hosts.server.voices import Facts
from echostream.hosts.server.wire import Answer, Ask, Gave, packed, receive_soon
from echostream.hosts.server.worker import Launch

_log = logging.getLogger(__name__)

_DIED = "the process that computed the stream has died; begin another one"

_PAUSE_S = 5.0
"""After which a worker that could not begin again is tried once more."""


class Link:
    """A worker, which is started again if it dies.

    Args:
        launch: starts it.
    """

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self.streams: dict[int, Stream] = {}
        """That it computes, by number."""
        self._asked: dict[int, Callable[[Answer], None]] = {}
        self._numbers = itertools.count()
        self._writer: asyncio.StreamWriter | None = None
        self._ended = lambda: None
        self._listening: asyncio.Task[None] | None = None

    @property
    def works(self) -> bool:
        """Whether the worker is there."""
        return self._writer is not None

    async def start(self) -> Facts:
        """Begin; what the worker says first.

        Raises:
            EchoStreamError: for what it cannot begin.
        """
        here, there = socket.socketpair()
        self._ended = await asyncio.to_thread(self._launch, there)
        reader, writer = await asyncio.open_connection(sock=here)
        try:
            told = await receive_soon(reader)
            if not isinstance(told, Facts):
                raise told
        except asyncio.IncompleteReadError as error:
            writer.close()
            raise EchoStreamError(
                "a process that computes died as it began; expected more memory, or "
                "fewer --processes"
            ) from error
        except BaseException:
            writer.close()
            raise
        self._writer = writer
        self._listening = asyncio.create_task(self._listen(reader))
        return told

    async def stop(self) -> None:
        """End the worker, once it has computed its batch."""
        if self._listening is not None:
            self._listening.cancel()
        if self._writer is not None:
            self._writer.close()
        await asyncio.to_thread(self._ended)

    async def ask(self, stream: int, what: str, *arguments: object) -> Any:
        """Have something done with a stream, a method of :class:`Worker`, after all that was asked
        before.

        Raises:
            EchoStreamError: as the method does, or if the worker dies.
        """
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.tell(stream, what, *arguments, then=functools.partial(_resolve, answered))
        answer = await answered
        if answer.error is not None:
            raise answer.error
        return answer.value

    def tell(
        self, stream: int, what: str, *arguments: object, then: Callable[[Answer], None]
    ) -> None:
        """The same without waiting for it; ``then`` takes the answer."""
        number = next(self._numbers)
        if self._writer is None:
            then(_died(number))
            return
        self._asked[number] = then
        self._writer.write(packed(Ask(number, stream, what, arguments)))

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while True:
            try:
                told: Answer | Gave = await receive_soon(reader)
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            stream = self.streams.get(told.stream)
            if stream is not None:
                stream.waits(told.waiting_ms)
            if isinstance(told, Answer):
                self._asked.pop(told.number)(told)
            elif stream is not None:
                stream.served(told.served, told.tail)
        await self._begin_again()

    async def _begin_again(self) -> None:
        """Tell all that it computed for, and start another one."""
        _log.error("a process that computes has died; its %d streams are lost", len(self.streams))
        if self._writer is not None:
            self._writer.close()
        self._writer = None
        asked, self._asked = self._asked, {}
        for number, then in asked.items():
            then(_died(number))
        for stream in tuple(self.streams.values()):
            stream.fail(_DIED)
        while not self.works:
            try:
                await asyncio.to_thread(self._ended)
                await self.start()
            except (EchoStreamError, OSError) as error:
                _log.error("%s", error)
                await asyncio.sleep(_PAUSE_S)


def _died(number: int) -> Answer:
    return Answer(number, -1, 0, error=EchoStreamError(_DIED))


def _resolve(answered: asyncio.Future[Answer], answer: Answer) -> None:
    if not answered.done():  # Whoever asked may not wait any more.
        answered.set_result(answer)
