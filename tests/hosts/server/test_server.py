"""What clients of a server get, whatever other clients do."""

import asyncio
import json
import logging
import signal
import urllib.request
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import numpy as np
import pytest
from simulstream.client import wav_reader_client
from websockets.exceptions import ConnectionClosed, InvalidStatus

from echostream.commands.serve import serve_until_told
from echostream.errors import ConfigError
from echostream.hosts.server import Server, ServerOptions
from echostream.session import SystemOptions

from .clients import (
    SYSTEM,
    Told,
    address,
    alone,
    client,
    gone,
    pcm,
    serving,
    speak,
    translator_of,
)


async def refused(server: Server, query: str = "", **more: Any) -> tuple[int, str]:
    """Status and reason with which a client is not let in."""
    with pytest.raises(InvalidStatus) as found:
        async with client(server, query, **more):
            pass
    response = found.value.response
    return response.status_code, (response.body or b"").decode()


async def closed(connection: Any) -> tuple[list[str], int, str]:
    """The errors that a client is told, and how the server then hangs up."""
    errors = []
    with pytest.raises(ConnectionClosed) as found:
        while True:
            errors += [json.loads(await connection.recv()).get("error")]
    received = found.value.rcvd
    return [each for each in errors if each], received.code, received.reason


async def plain(server: Server, path: str, token: str | None = None) -> tuple[int, str]:
    """Plain HTTP."""
    request = urllib.request.Request(server.url + path)
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")

    def get() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(request) as response:
                return response.status, response.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()

    return await asyncio.to_thread(get)


@pytest.mark.fault("F45", "F47", "F49")
def test_clients_get_what_they_would_get_alone_whatever_others_do(checkpoint: Path) -> None:
    sources = [(pcm(1.5 + 0.4 * n, n), rate) for n, rate in enumerate((8_000, 16_000, 44_100))]
    results: list[Told] = []

    async def mischief(server: Server) -> None:
        async with client(server) as garbage:
            for message in ("", "{", "[" * 50_000, "3", '{"sample_rate": "x"}', b"\x01", "null"):
                await garbage.send(message)
            for _ in range(13):
                await garbage.send("?")
            errors, code, reason = await closed(garbage)
            assert len(errors) == 21 and code == 1008 and "20 messages" in reason
        async with client(server) as large:
            await large.send(bytes(70_000))
            assert (await closed(large))[1] == 1009
        vanishing = await client(server)
        await vanishing.send(pcm(1.0, 7).tobytes())
        vanishing.transport.abort()
        deaf = await client(server, max_queue=1)
        for _ in range(10):
            await deaf.send(pcm(0.3, 8).tobytes())
        deaf.transport.abort()

    async def good(server: Server, samples: Any, rate: int, piece: int) -> None:
        async with client(server) as connection:
            results.append(await speak(connection, samples, rate, piece, tentative=True))

    async def work(server: Server) -> None:
        tasks = [
            good(server, samples, rate, piece)
            for (samples, rate), piece in zip(sources, (128, 3_333, 30_000), strict=True)
        ]
        await asyncio.gather(mischief(server), *tasks)
        await gone(server)
        assert server.meter.errors == 20

    translator = serving(checkpoint, work, max_message_bytes=65_536)
    assert sorted(told.text for told in results) == sorted(
        " ".join(alone(translator, samples, rate)) for samples, rate in sources
    )
    for told in results:
        assert told.text == " ".join(word["text"] for word in told.words) != ""
        assert all(word["end_ms"] <= word["written_ms"] for word in told.words)
        assert told.tentative and not told.errors


def test_streams_follow_one_another_in_languages_that_there_are(checkpoint: Path) -> None:
    # The last message is shorter than what is heard at once.
    first, second = pcm(1.6, 1)[:24_100], pcm(1.3, 2)
    results: list[Told] = []

    async def work(server: Server) -> None:
        async with client(server) as connection:
            results.append(await speak(connection, first, 44_100, target_lang="en"))
            # The rate is 16 kHz again, and the source as target is a transcript.
            about = {"source_lang": "es", "target_lang": "es"}
            results.append(await speak(connection, second, None, **about))
            results.append(await speak(connection, second, None))
            results.append(await speak(connection, second[:0]))
            heard = len(first) / 44_100 + 2 * len(second) / 16_000
            assert server.meter.audio_s == pytest.approx(heard)
            await connection.send(json.dumps({"target_lang": "it"}))
            errors, code, reason = await closed(connection)
            assert "'it'" in errors[0] and code == 1008 and "'it'" in reason
        async with client(server) as connection:
            await connection.send(second.tobytes())
            await connection.send('{"sample_rate": 8000}')
            told = Told()
            while not told.errors:
                told.take(str(await connection.recv()))
            assert "middle of a stream" in told.errors[0]

    translator = serving(checkpoint, work)
    transcriber = translator_of(checkpoint, task="asr")
    assert results[0].text == " ".join(alone(translator, first, 44_100))
    assert results[1].text == " ".join(alone(transcriber, second, 16_000))
    assert results[2].text == " ".join(alone(translator, second, 16_000))
    assert results[3].text == "" and all(told.text for told in results[:3])
    assert results[1].text != results[2].text


@pytest.mark.fault("F52")
def test_a_server_that_is_told_to_end_loses_no_word(checkpoint: Path) -> None:
    """The handler is called as the loop would call it: a signal that nobody waits for any more ends
    the process that runs the tests."""
    samples = pcm(1.9, 3)
    told = Told()
    system = SystemOptions(checkpoint=str(checkpoint), **SYSTEM)
    translator = translator_of(checkpoint)
    server = Server(system, ServerOptions(port=0, drain_s=1.0), translator=translator)

    async def work() -> None:
        handlers: dict[int, Callable[[], None]] = {}
        asyncio.get_running_loop().add_signal_handler = handlers.__setitem__  # type: ignore
        serving = asyncio.create_task(serve_until_told(server))
        while not server.serves:
            await asyncio.sleep(0.01)
        connection = await client(server)
        await connection.send(samples.tobytes())
        while server.meter.audio_s < len(samples) / 16_000:
            await asyncio.sleep(0.01)
        assert set(handlers) == {signal.SIGTERM, signal.SIGINT}
        handlers[signal.SIGTERM]()
        while (await plain(server, "health"))[0] == 200:
            await asyncio.sleep(0.01)
        assert await refused(server) == (503, "the server is shutting down\n")
        while not told.take(str(await connection.recv())):
            pass
        with pytest.raises(ConnectionClosed) as found:
            await connection.recv()
        assert found.value.rcvd is not None and found.value.rcvd.code == 1001
        await serving

    asyncio.run(asyncio.wait_for(work(), 60))
    assert told.text == " ".join(alone(translator, samples, 16_000)) != ""


@pytest.mark.parametrize("notices", [True, False])
def test_a_client_comes_back(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, notices: bool
) -> None:
    """Whether the server has noticed that the first connection broke, or has not; with more audio
    on its way than may wait."""
    samples, sent = pcm(2.0, 9), 20_000
    monkeypatch.setattr("echostream.hosts.server.stream.MAX_AHEAD_MS", 1_500)
    told, later = Told(), Told()

    async def work(server: Server) -> None:
        first = await client(server)
        await first.send('{"sample_rate": 8000, "resume": true, "tentative": true}')
        token = json.loads(await first.recv())["token"]
        await first.send(samples[:sent].tobytes())
        while not told.words:
            told.take(str(await first.recv()))
        if notices:
            first.transport.abort()
            while server.meter.clients:
                await asyncio.sleep(0.01)
            assert server.meter.streams == 0
        async with client(server) as second:
            about = {"resume": token, "words": len(told.words)}
            await second.send(json.dumps(about))
            back = json.loads(await second.recv())
            assert back["resumed"] and back["samples"] == sent
            await second.send(samples[back["samples"] :].tobytes())
            await second.send('{"end_of_stream": true}')
            while not told.take(str(await second.recv())):
                pass
            # What was told may have been lost too, to the last message.
            await second.send(json.dumps({"resume": token, "words": 1}))
            while not later.take(str(await second.recv())):
                pass
            await second.send('{"resume": "another"}')
            assert "no stream with this token" in json.loads(await second.recv())["error"]
        first.transport.abort()
        await gone(server)
        async with client(server) as third:
            await third.send(json.dumps({"resume": token}))
            assert "no stream with this token" in json.loads(await third.recv())["error"]

    translator = serving(checkpoint, work)
    expected = alone(translator, samples, 8_000)
    assert told.text == " ".join(expected) and len(expected) > 2
    assert later.text == "".join(f" {word}" for word in expected[1:])


def test_who_stays_away_is_given_up(checkpoint: Path) -> None:
    async def work(server: Server) -> None:
        connection = await client(server)
        await connection.send('{"resume": true}')
        await connection.send(pcm(1.0, 1).tobytes())
        while not server.meter.streams:
            await asyncio.sleep(0.01)
        connection.transport.abort()
        await gone(server)
        assert len(server._absences._keeper._kept) == 1
        await asyncio.sleep(0.6)
        assert len(server._absences._keeper._kept) == 0

    serving(checkpoint, work, resume_s=0.5)


@pytest.mark.fault("F51", "F53")
def test_who_is_let_in(checkpoint: Path) -> None:
    secret = "a secret of some length"

    async def work(server: Server) -> None:
        assert (await refused(server))[0] == 401
        assert (await refused(server, "?token=another"))[0] == 401
        query = "?token=a%20secret%20of%20some%20length"
        for origin in ("http://elsewhere.org", "http://["):
            assert (await refused(server, query, origin=origin))[0] == 403
        for origin in ("http://127.0.0.1:9999", "https://example.org"):
            async with client(server, query, origin=origin):
                pass
        await gone(server)
        header = {"Authorization": f"Bearer {secret}"}
        async with client(server, query):
            async with client(server, additional_headers=header):
                status, reason = await refused(server, query)
                assert status == 503 and "2 clients are connected" in reason
                health = json.loads((await plain(server, "health"))[1])
                assert health["status"] == "refusing" and "2 clients" in health["reason"]
            while server.meter.clients > 1:
                await asyncio.sleep(0.01)
            server.meter.late.extend([(server.meter.clock(), 0.5)] * 8)
            status, reason = await refused(server, query)
            assert status == 503 and "overloaded" in reason and "320 ms" in reason
        await gone(server)
        async with client(server, query):
            pass
        assert (await plain(server, "metrics"))[0] == 401
        status, metrics = await plain(server, "metrics", secret)
        assert status == 200 and "\nechostream_refused_total 2\n" in metrics
        assert '\nechostream_chunk_seconds{quantile="0.95"} 0.500000\n' in metrics
        about = json.loads((await plain(server, "about"))[1])
        assert about["source_languages"] == ["es"] and about["needs_token"]
        assert "<title>" in (await plain(server, ""))[1]
        assert (await plain(server, "../options.py"))[0] == 404
        assert (await plain(server, "/["))[0] == 404

    serving(checkpoint, work, token=secret, max_clients=2, origins=("example.org",))


@pytest.mark.fault("F50")
def test_silent_clients_go(checkpoint: Path) -> None:
    async def work(server: Server) -> None:
        async with client(server) as connection:
            errors, code, _ = await closed(connection)
            assert errors == ["nothing came for 1 s"] and code == 1008

    serving(checkpoint, work, idle_s=1.0)


def test_simulstreams_own_client(
    checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    samples = pcm(1.5, 6)
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, 8_000, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    caplog.set_level(logging.DEBUG, "simulstream.wav_reader_client")

    async def work(server: Server) -> None:
        files = [str(tmp_path / "a.wav")]
        await wav_reader_client.stream_wav_files(address(server), files, 100, "en", "es")

    translator = serving(checkpoint, work)
    messages = [record.getMessage() for record in caplog.records]
    told = Told()
    ends = [told.take(message) for message in messages if message.startswith("{")]
    assert ends[-1] and not any(ends[:-1])
    # It sends the last piece of a file twice.
    last = (len(samples) - 1) // 800 * 800
    heard = np.concatenate((samples, samples[last:]))
    assert told.text == " ".join(alone(translator, heard, 8_000)) != ""


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_clients": 0},
        {"idle_s": 0.5},
        {"port": -1},
        {"token": "short"},
        {"key": "k"},
        {"save_s": 5.0},
    ],
)
def test_limits_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="--|token"):
        ServerOptions(**wrong)
