"""What the event loop and the workers say to each other.

A message is its length and a pickle, over a socket that nobody else has.
"""

import asyncio
import pickle
import socket
import struct
from dataclasses import dataclass
from typing import Any

from echostream.errors import EchoStreamError
from echostream.hosts.pool import Served

_LENGTH = struct.Struct("!Q")


@dataclass(frozen=True)
class Ask:
    """Something to be done with a stream."""

    number: int
    stream: int
    what: str
    """A method of :class:`echostream.hosts.server.worker.Worker`."""
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Answer:
    """To the :class:`Ask` of the same number."""

    number: int
    stream: int
    waiting_ms: int
    """Audio of the stream that was pushed and not encoded; nothing of one that is over."""
    value: Any = None
    error: EchoStreamError | None = None


@dataclass(frozen=True)
class Gave:
    """What a stream got from a batch."""

    stream: int
    waiting_ms: int
    served: Served
    tail: tuple[str, ...] = ()
    """Words behind those, which may still change."""


def send(link: socket.socket, message: object) -> None:
    """Send one; waits while the other end does not read."""
    link.sendall(packed(message))


def receive(link: socket.socket) -> Any:
    """The next one.

    Raises:
        EOFError: if the other end is closed.
    """
    (length,) = _LENGTH.unpack(_exactly(link, _LENGTH.size))
    return pickle.loads(_exactly(link, length))


async def receive_soon(reader: asyncio.StreamReader) -> Any:
    """The same in an event loop."""
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    return pickle.loads(await reader.readexactly(length))


def packed(message: object) -> bytes:
    """A message as it is sent."""
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(data)) + data


def _exactly(link: socket.socket, count: int) -> bytearray:
    data = bytearray(count)
    view = memoryview(data)
    while view:
        received = link.recv_into(view)
        if not received:
            raise EOFError
        view = view[received:]
    return data
