"""What is lost when something that computes fails: its own streams, and no others."""

import asyncio
import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from echostream.hosts.pool import StreamPool
from echostream.hosts.server import Server, ServerOptions
from echostream.session import SystemOptions

from .clients import SYSTEM, Told, alone, client, gone, pcm, serving, speak, translator_of


@pytest.mark.parametrize("what", ["run_ready", "push"])
def test_what_fails_ends_its_streams_and_no_others(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    samples = pcm(1.2, 5)
    works = getattr(StreamPool, what)
    results: list[Told] = []

    def fail(*_: object) -> Any:
        monkeypatch.setattr(StreamPool, what, works)
        raise MemoryError("no room")

    async def work(server: Server) -> None:
        async with client(server) as connection:
            monkeypatch.setattr(StreamPool, what, fail)
            await connection.send(samples.tobytes())
            told = Told()
            while not told.errors:
                told.take(str(await connection.recv()))
            assert told.errors == ["the stream was ended: computing failed: MemoryError: no room"]
        async with client(server) as connection:
            results.append(await speak(connection, samples))

    translator = serving(checkpoint, work)
    assert results[0].text == " ".join(alone(translator, samples, 16_000))


@pytest.mark.slow
def test_a_process_that_dies_costs_its_own_streams(checkpoint: Path) -> None:
    """Each of two clients is computed by a process of its own."""
    samples = pcm(1.6, 5)
    system = SystemOptions(checkpoint=str(checkpoint), **SYSTEM)
    results: list[Told] = []

    async def begin(connection: Any) -> Told:
        await connection.send(samples[:12_000].tobytes())
        told = Told()
        while not told.words:
            told.take(str(await connection.recv()))
        return told

    async def work(server: Server) -> None:
        async with client(server) as first, client(server) as second:
            told = [await begin(first), await begin(second)]
            processes = multiprocessing.active_children()
            assert len(processes) == 2
            processes[0].kill()
            await asyncio.to_thread(processes[0].join)
            for each, connection in zip(told, (first, second), strict=True):
                await connection.send(samples[12_000:].tobytes())
                await connection.send('{"end_of_stream": true}')
                while not each.take(str(await connection.recv())):
                    pass
            # The one that is left takes new streams, and so does the one in the place of the other.
            both = (speak(each, samples) for each in (first, second))
            (lost,) = (each.errors for each in told if each.errors)
            assert "has died" in lost[0]
            results.extend(each for each in told if not each.errors)
            results.extend(await asyncio.gather(*both))
            while len(multiprocessing.active_children()) < 2:
                await asyncio.sleep(0.01)
        await gone(server)

    async def serve() -> None:
        options = ServerOptions(port=0, processes=2)
        async with Server(system, options) as server, asyncio.timeout(300):
            await work(server)
        assert not multiprocessing.active_children()

    asyncio.run(serve())
    expected = " ".join(alone(translator_of(checkpoint), samples, 16_000))
    assert [each.text for each in results] == [expected] * 3 and expected
