"""Streams that go on in another server."""

import asyncio
import json
import os
import signal
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from echostream.errors import EchoStreamError, StateMismatchError
from echostream.hosts.server import Server, ServerOptions
from echostream.hosts.server.absent import Absences
from echostream.hosts.server.keeping import InFolder, InMemory, Kept
from echostream.hosts.transcript import WrittenWord
from echostream.session import SystemOptions, build_translator
from eval.live.served import Served, ServerError, family

from .clients import SYSTEM, Told, address, alone, gone, pcm, serving, translator_of
from .test_server import closed


async def begin(url: str, samples: Any, told: Told) -> tuple[Any, str]:
    """A client that has heard the first words of a transcript; its connection and its token."""
    connection = await connect(url)
    await connection.send('{"target_lang": "es", "resume": true, "tentative": true}')
    token = json.loads(await connection.recv())["token"]
    await connection.send(samples.tobytes())
    while not told.words:
        told.take(str(await connection.recv()))
    return connection, token


async def go_on(connection: Any, token: str, samples: Any, told: Told) -> int:
    """Take the stream up again and end it; how many samples the server had."""
    await connection.send(json.dumps({"resume": token, "words": len(told.words)}))
    back = json.loads(await connection.recv())
    await connection.send(samples[back["samples"] :].tobytes())
    await connection.send('{"end_of_stream": true}')
    while not told.take(str(await connection.recv())):
        pass
    return back["samples"]


def test_a_stream_is_kept_if_the_process_that_takes_it_up_is_lost() -> None:
    class Lost:
        token = None

        async def go_on(self) -> None:
            raise EchoStreamError("the process has died")

    async def work() -> None:
        keeper, kept = InMemory(seconds=60, most=1), Kept(samples=7)
        await keeper.put("token", kept)
        with pytest.raises(EchoStreamError, match="died"):
            await Absences(keeper, lambda _: Lost()).take("token", lambda: None)
        assert await keeper.take("token") is kept

    asyncio.run(work())


@pytest.mark.parametrize("drains", [True, False])
def test_a_stream_goes_on_in_another_server(checkpoint: Path, tmp_path: Path, drains: bool) -> None:
    """The first server drains, or only the connection to it breaks."""
    samples, told = pcm(1.9, 9), Told()
    system = SystemOptions(checkpoint=str(checkpoint), **SYSTEM)

    def server() -> Server:
        options = ServerOptions(port=0, streams=tmp_path / "streams")
        return Server(system, options, translator=build_translator(system))

    async def work() -> None:
        async with server() as first, server() as second, asyncio.timeout(120):
            connection, token = await begin(address(first), samples[:17_001], told)
            async with connect(address(first)) as other:
                await other.send('{"target_lang": "es"}')
                if drains:
                    draining = asyncio.create_task(first.drain())
                    errors, code, reason = await closed(connection)
                    assert code == 1012 and "show its token" in reason and not errors
                else:
                    connection.transport.abort()
                async with connect(address(second)) as back:
                    assert await go_on(back, token, samples, told) == 17_001
                # Who has no token is not sent away at once.
                await other.send('{"end_of_stream": true}')
                assert json.loads(await other.recv()) == {"end_of_processing": True}
            if drains:
                await draining
        assert not list((tmp_path / "streams").iterdir())

    asyncio.run(work())
    expected = alone(translator_of(checkpoint, task="asr"), samples, 16_000)
    assert told.text == " ".join(expected) and len(expected) > 2


def test_a_stream_goes_on_after_its_server_was_killed(checkpoint: Path, tmp_path: Path) -> None:
    """Of which the other server has what it had saved a while before. Nothing is killed here: the
    other one cannot know the difference."""
    samples, told = pcm(3.0, 9), Told()
    system = SystemOptions(checkpoint=str(checkpoint), **SYSTEM)
    folder = tmp_path / "streams"

    def server(**more: Any) -> Server:
        options = ServerOptions(port=0, streams=folder, **more)
        return Server(system, options, translator=translator_of(checkpoint))

    async def work() -> None:
        async with server(save_s=0.01) as first, server() as second, asyncio.timeout(120):
            connection, token = await begin(address(first), samples[:17_001], told)
            assert first._saving is not None
            first._saving.cancel()
            await asyncio.gather(first._saving, return_exceptions=True)
            await first._absences.save()
            saved = len(told.words)
            await connection.send(samples[17_001:40_000].tobytes())
            while len(told.words) < saved + 2:
                told.take(str(await connection.recv()))
            async with connect(address(second)) as back:
                assert await go_on(back, token, samples, told) == 17_001
            connection.transport.abort()
        assert told.tentative

    asyncio.run(work())
    expected = alone(translator_of(checkpoint, task="asr"), samples, 16_000)
    assert told.text == " ".join(expected) and len(expected) > 4


def test_who_came_to_the_end_is_not_kept(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor by what is still being written when the end comes."""
    write = InFolder._write

    def slow(self: InFolder, token: str, kept: Kept) -> None:
        time.sleep(0.2)
        write(self, token, kept)

    monkeypatch.setattr(InFolder, "_write", slow)

    async def work(server: Server) -> None:
        connection, _ = await begin(address(server), pcm(1.9, 9), Told())
        while not list(tmp_path.iterdir()):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # The next save has begun.
        await connection.close()
        await gone(server)
        await asyncio.sleep(0.4)
        assert not list(tmp_path.iterdir())

    serving(checkpoint, work, streams=tmp_path, save_s=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stream_goes_on_in_another_process(
    checkpoint: Path, tmp_path: Path, number: signal.Signals
) -> None:
    samples, told, folder = pcm(1.9, 9), Told(), tmp_path / "streams"
    arguments = [f"--checkpoint={checkpoint}", f"--streams={folder}", "--save-s=0.5"]
    arguments += [f"--{name.replace('_', '-')}={value}" for name, value in SYSTEM.items()]
    killed = number == signal.SIGKILL

    async def work(first: Served, second: Served) -> None:
        connection, token = await begin(first.url.replace("http", "ws"), samples[:17_001], told)
        while killed and not list(folder.iterdir()):
            await asyncio.sleep(0.1)
        # As a service manager does it: those that compute get the signal too.
        for process in family(first.process.pid):
            os.kill(process, number)
        if killed:
            with pytest.raises(ConnectionClosed):
                while True:
                    told.take(str(await connection.recv()))
        else:
            assert (await closed(connection))[1] == 1012
        async with connect(second.url.replace("http", "ws")) as back:
            heard = await go_on(back, token, samples, told)
            assert heard <= 17_001 if killed else heard == 17_001

    with (
        Served(arguments, tmp_path / "second.log") as second,
        pytest.raises(ServerError, match="ended with -9") if killed else nullcontext(),
        Served(arguments, tmp_path / "first.log") as first,
    ):
        asyncio.run(work(first, second))
    expected = alone(translator_of(checkpoint, task="asr"), samples, 16_000)
    assert told.text == " ".join(expected) and len(expected) > 2


def test_what_is_kept_is_taken_once_and_not_for_ever(tmp_path: Path) -> None:
    kept = Kept(held=b"\x00\xff", samples=7, words=(WrittenWord("¿a?", 20, 320),), num_words=1)

    async def work() -> None:
        several = [InFolder(tmp_path, "system", 30.0, wait_s=0.2) for _ in range(3)]
        await several[0].put("../token", kept)
        (file,) = tmp_path.iterdir()
        assert "token" not in file.name
        taken = await asyncio.gather(*(each.take("../token") for each in several))
        (found,) = [each for each in taken if each is not None]
        assert vars(found) == vars(kept) and not list(tmp_path.iterdir())

        waiting = asyncio.create_task(several[1].take("late"))
        await asyncio.sleep(0.05)
        await several[0].put("late", kept)
        assert await waiting is not None

        # As JSON can hold it.
        assert await several[0].take("\ud800") is None

        await several[0].put("old", kept)
        (file,) = tmp_path.iterdir()
        os.utime(file, (time.time() - 31, time.time() - 31))
        assert await several[1].take("old") is None and not list(tmp_path.iterdir())

        await several[0].put("token", kept)
        with pytest.raises(StateMismatchError, match="fingerprint"):
            await InFolder(tmp_path, "another", 30.0).take("token")

    asyncio.run(work())
