"""Clients of a server in the same process, and what they would get alone."""

import asyncio
import functools
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection, connect

from echostream.hosts.server import Server, ServerOptions
from echostream.session import Session, SystemOptions, Translator, build_translator
from tests.small_system import audio

SYSTEM = {"policy": "wait-k", "policy_options": "k=2,stride=1"}


def pcm(seconds: float, seed: int) -> NDArray[np.int16]:
    return (audio(seconds, seed) * 32767).astype("<i2")


def alone(translator: Translator, samples: NDArray[np.int16], rate: int) -> list[str]:
    session = Session(translator)
    return [*session.push(samples, rate).words, *session.finish().words]


@functools.cache
def translator_of(checkpoint: Any, **options: Any) -> Translator:
    """Of the small checkpoint; nothing in it changes, so one is enough."""
    return build_translator(SystemOptions(checkpoint=str(checkpoint), **SYSTEM, **options))


def serving(
    checkpoint: Any, work: Callable[[Server], Awaitable[None]], **options: Any
) -> Translator:
    """Do some work with a server of the small checkpoint; the translator that it had."""
    system = SystemOptions(checkpoint=str(checkpoint), **SYSTEM)
    translator = translator_of(checkpoint)

    async def serve() -> None:
        given = ServerOptions(port=0, **options)
        async with Server(system, given, translator=translator) as server, asyncio.timeout(300):
            await work(server)

    asyncio.run(serve())
    return translator


def address(server: Server, query: str = "") -> str:
    return server.url.replace("http", "ws", 1) + query


def client(server: Server, query: str = "", **more: Any) -> connect:
    return connect(address(server, query), **more)


@dataclass
class Told:
    """What a client was told of one stream."""

    text: str = ""
    words: list[dict[str, Any]] = field(default_factory=list)
    tentative: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def take(self, message: str) -> bool:
        """One more; whether it was the last."""
        told = json.loads(message)
        if "end_of_processing" in told:
            return True
        # As simulstream's page does with every message.
        self.text = self.text[: len(self.text) - len(told["deleted"])] + told["new"]
        self.words += told.get("words", [])
        self.tentative += [told["tentative"]] if told.get("tentative") else []
        self.errors += [told["error"]] if "error" in told else []
        return False


async def speak(
    connection: ClientConnection,
    samples: NDArray[np.int16],
    rate: int | None = 16_000,
    piece: int = 4_000,
    **about: Any,
) -> Told:
    """A stream from its first message to its last; without a rate none is said."""
    if rate is not None:
        about["sample_rate"] = rate
    if about:
        await connection.send(json.dumps(about))
    told = Told()

    async def listen() -> None:
        while not told.take(str(await connection.recv())):
            pass

    listening = asyncio.create_task(listen())
    for start in range(0, len(samples), piece):
        await connection.send(samples[start : start + piece].tobytes())
    await connection.send(json.dumps({"end_of_stream": True}))
    await listening
    return told


async def gone(server: Server) -> None:
    """Wait until the server has nobody left."""
    while server.meter.clients or server.meter.streams:
        await asyncio.sleep(0.01)
