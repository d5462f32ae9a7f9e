"""Servers on a Ray cluster: which one a stream goes to, how many there are, and what is left of a
stream whose node goes.

The last tests start Ray and its Serve and take minutes.
"""

import asyncio
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.http11 import Request, Response

from echostream import ray_serve
from echostream.errors import ConfigError
from echostream.hosts.ray_serve import choice
from echostream.hosts.ray_serve.choice import Choice, Seen
from echostream.hosts.ray_serve.front import Front
from echostream.hosts.ray_serve.scaling import USED, policy, servers_wanted
from echostream.hosts.server import Server, ServerOptions, web
from echostream.session import SystemOptions
from tests.hosts.server.browser import CHROMIUM, opened
from tests.hosts.server.clients import SYSTEM, Told, alone, client, pcm, serving, translator_of
from tests.hosts.server.test_keeping import go_on
from tests.small_system import audio

from .test_cluster import cluster_of

LOADS = st.lists(st.floats(0, 1), max_size=30)


@given(LOADS)
def test_as_few_servers_as_carry_the_load(loads: list[float]) -> None:
    wanted = servers_wanted(loads)
    assert sum(loads) / wanted <= USED + 1e-4
    assert wanted == 1 or sum(loads) / (wanted - 1) > USED - 1e-4


def test_a_server_that_is_full_or_late_gets_company(checkpoint: Path) -> None:
    async def work(server: Server) -> None:
        assert server.load() == 0.0
        async with client(server):
            while not server.meter.clients:
                await asyncio.sleep(0.01)
            assert server.load() == 0.25
            for _ in range(8):
                server.meter.served(0.9 * server._engine.chunk_ms / 1000, 0.1, 0)
            assert server.load() == pytest.approx(0.9)
            context = Context({"load": {"a": server.load()}})
            assert policy(context) == (2, {})

    serving(checkpoint, work, max_clients=4)
    assert policy(Context({})) == (1, {})


@dataclass
class Context:
    aggregated_metrics: dict[str, dict[str, float]]


def seen(url: str, load: float = 0.5, refusal: str | None = None) -> Seen:
    return Seen(url, "node", load, refusal, {})


SERVERS = st.dictionaries(
    st.sampled_from("abcd"), st.tuples(st.floats(0, 1), st.sampled_from([None, "full"]))
)


@given(st.lists(st.tuples(st.sampled_from(["", "é", "x" * 9]), SERVERS)))
def test_a_stream_stays_while_its_server_takes_clients(asked: list[Any]) -> None:
    chosen, own = Choice(), {}
    for name, servers in asked:
        free = {url for url, (_, refusal) in servers.items() if refusal is None}
        found = chosen(name, [seen(url, *about) for url, about in servers.items()])
        assert (found is None) == (not free)
        if found is not None:
            assert found.url in free
            assert own.get(name) not in free or found.url == own[name]
            own[name] = found.url


def test_new_streams_go_where_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "REMEMBERED", 100)
    chosen, servers = Choice(), [seen("a", 0.7), seen("b", 0.4), seen("c", 1.0)]
    names = [str(number) for number in range(3_000)]
    found = Counter(str(each and each.url) for each in (chosen(name, servers) for name in names))
    assert found["a"] == pytest.approx(1_000, rel=0.1) and found["c"] < 60
    assert len(chosen._had) == 100
    # Without the memory of it, as another one would.
    again = Counter(str(each and each.url) for each in (Choice()(name, servers) for name in names))
    assert again == found


def asked(front: Front, path: str, kind: str = "http", root: str = "") -> tuple[int, Any, str]:
    """Status, headers and body of an answer, as an ASGI server gets them."""
    sent: list[dict[str, Any]] = []
    route, _, query = path.partition("?")
    scope = {"type": kind, "path": root + route, "root_path": root, "query_string": query.encode()}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(front._serve(scope, None, send))  # type: ignore[arg-type]
    kind = {"websocket": "websocket.http"}.get(kind, kind)
    start, body = sent
    assert (start["type"], body["type"]) == (f"{kind}.response.start", f"{kind}.response.body")
    return start["status"], dict(start["headers"]), body["body"].decode()


def test_the_front_door_says_where_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    front = Front(None)
    for kind, path in (
        ("websocket", "/?stream=a"),
        ("http", "/where?stream=a"),
        ("http", "/about"),
    ):
        status, headers, body = asked(front, path, kind)
        assert (status, body) == (503, "no server is there yet; try again later\n")
        assert headers[b"retry-after"] == b"5"
    asyncio.run(front.note(seen("ws://a:1/")))
    asyncio.run(front.note(seen("ws://b:2/", refusal="full")))
    for root in ("", "/es"):
        query = "stream=%C3%A9%20b&token=t%2F"
        status, headers, _ = asked(front, f"/?{query}", "websocket", root)
        there = f"ws://a:1/?{query}"
        assert (status, headers[b"location"].decode()) == (307, there)
        assert asked(front, f"/where?{query}", root=root)[::2] == (200, there)
        assert asked(front, "/", root=root)[2].startswith("<!doctype html>")
    assert asked(front, "/nothing")[0] == 404
    asyncio.run(front.note(seen("ws://a:1/", refusal="late")))
    for kind, path in (("websocket", "/"), ("http", "/where"), ("http", "/health")):
        status, _, body = asked(front, path, kind)
        assert status == 503 and "none of 2 servers takes another client; the first: late" in body
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 4)
    assert json.loads(asked(front, "/servers")[2]) == []


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_the_page_goes_on_in_another_server(checkpoint: Path, tmp_path: Path) -> None:
    """Whose server drains; the front door is not behind Serve here."""
    soundfile.write(tmp_path / "speech.wav", audio(20.0, 1), 48_000)
    system = SystemOptions(checkpoint=str(checkpoint), **SYSTEM)
    options = ServerOptions(port=0, streams=tmp_path / "streams")
    front = Front(None)

    def answer(_: Any, request: Request) -> Response:
        path, _, query = request.path.partition("?")
        return front._answer(None if web.wants_websocket(request) else path, query)

    async def tell(servers: tuple[Server, ...]) -> None:
        while True:
            for each in servers:
                url = each.url.replace("http", "ws")
                await front.note(Seen(url, "", each.load(), each.refusal(), each.about))
            await asyncio.sleep(0.1)

    async def work() -> None:
        translator = translator_of(checkpoint)
        async with (
            Server(system, options, translator=translator) as first,
            Server(system, options, translator=translator) as second,
            serve(lambda _: asyncio.sleep(0), "127.0.0.1", 0, process_request=answer) as listening,
            asyncio.timeout(120),
        ):
            telling = asyncio.create_task(tell((first, second)))
            port = listening.sockets[0].getsockname()[1]
            page = f"http://127.0.0.1:{port}/"
            async with opened(page, tmp_path / "chromium", tmp_path / "speech.wav") as tab:
                await tab.until("!document.getElementById('start').disabled")
                await tab.run("document.getElementById('start').click()")
                count = "Number(document.getElementById('count').textContent)"
                await tab.until(f"{count} > 3")
                own, other = (first, second) if first.meter.clients else (second, first)
                await own.drain()
                written = await tab.run(count)
                await tab.until(f"{count} > {written + 3}")
                assert (own.meter.opened, other.meter.opened) == (1, 0)
                assert await tab.run("document.getElementById('error').hidden")
                await tab.run("document.getElementById('start').click()")
                await tab.until("document.getElementById('start').textContent === 'Start'")
                assert not tab.complaints
            telling.cancel()

    asyncio.run(work())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"streams": "/s", "stream": "a"}, r"unrecognized arguments: --stream=a; expected options"),
        ({"streams": "/s", "max-clients": "many"}, r"--max-clients: invalid int value"),
        ({"streams": "/s", "host": "::"}, r"host is ::; expected none"),
        ({"streams": "streams"}, r"streams is streams; expected the absolute path"),
        ({}, r"streams is None; expected the absolute path"),
        ({"streams": "/s", "replicas": "3:2"}, r"replicas is '3:2'; expected MIN:MAX"),
        ({"streams": "/s", "replicas": "0"}, r"replicas is '0'; expected MIN:MAX"),
    ],
)
def test_what_cannot_be_deployed_is_said(arguments: dict[str, Any], message: str) -> None:
    pytest.importorskip("ray.serve", reason="ray[serve] is not installed")
    with pytest.raises(ConfigError, match=message):
        ray_serve.app(arguments)


@dataclass(frozen=True)
class Deployed:
    cluster: Any
    front: str
    """``HOST:PORT/`` of it."""

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://{self.front}{path}", timeout=30) as answer:
            return json.load(answer)

    def node(self, connection: ClientConnection) -> str:
        """Of the server at its other end."""
        port = connection.remote_address[1]
        (node,) = {
            each["labels"]["node"]
            for each in self.get("servers")
            if each["targets"][0].endswith(f":{port}")
        }
        return node

    async def reach(self, name: str) -> ClientConnection:
        """As a client does that is on its way back: again and again."""
        while True:
            try:
                return await connect(f"ws://{self.front}?stream={name}")
            except (OSError, InvalidHandshake):
                await asyncio.sleep(0.2)


@pytest.fixture(scope="module")
def deployed(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Two servers, or three, on four nodes of one processor."""
    serve_api = pytest.importorskip("ray.serve", reason="ray[serve] is not installed")
    import ray

    cluster = cluster_of(4)
    ray.init(cluster.address, logging_level="WARNING")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    http = {"host": "127.0.0.1", "port": port}
    # The nodes have one address, and so one proxy.
    serve_api.start(proxy_location="HeadOnly", http_options=http)
    arguments = {
        **SYSTEM,
        "checkpoint": str(checkpoint),
        "streams": str(tmp_path_factory.mktemp("serve") / "streams"),
        "save-s": 0.5,
        "idle-s": 600,
        "max-clients": 6,
        "processes": 1,
        "replicas": "2:3",
    }
    serve_api.run(ray_serve.app(arguments))
    found = Deployed(cluster, f"127.0.0.1:{port}/")
    yield found
    serve_api.shutdown()
    ray.shutdown()
    cluster.shutdown()


async def two(deployed: Deployed) -> None:
    """Wait until both servers are known."""
    while len(deployed.get("servers")) != 2:
        await asyncio.sleep(0.2)


@pytest.mark.slow
def test_a_name_meets_its_server(deployed: Deployed) -> None:
    async def work() -> None:
        await two(deployed)
        ports = {}
        for name in ("a", "b", "c", "d", "e", "f", "g", "h"):
            connection = await deployed.reach(name)
            ports[name] = connection.remote_address[1]
            connection.transport.abort()
        assert len(set(ports.values())) == 2
        for name, port in ports.items():
            async with connect(f"ws://{deployed.front}?stream={name}") as connection:
                assert connection.remote_address[1] == port
            with urllib.request.urlopen(f"http://{deployed.front}where?stream={name}") as answer:
                assert f":{port}/?stream={name}" in answer.read().decode()
        assert deployed.get("health") == {"status": "ok", "servers": 2}
        assert deployed.get("about")["elsewhere"] is True

    asyncio.run(asyncio.wait_for(work(), 120))


@pytest.mark.slow
def test_full_servers_get_another_one(deployed: Deployed) -> None:
    async def work() -> None:
        held = [await deployed.reach(f"full{number}") for number in range(12)]
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://{deployed.front}")
        assert refused.value.response.status_code == 503
        held.append(await deployed.reach("more"))
        assert len({connection.remote_address[1] for connection in held}) == 3
        for connection in held:
            await connection.close()

    asyncio.run(asyncio.wait_for(work(), 240))


@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True], ids=["drained", "killed"])
def test_a_node_that_goes_takes_no_word_along(
    deployed: Deployed, checkpoint: Path, killed: bool
) -> None:
    samples, told = pcm(30.0, 9), Told()

    async def go(node: str) -> None:
        if killed:
            (own,) = (each for each in deployed.cluster.worker_nodes if each.node_id == node)
            await asyncio.to_thread(deployed.cluster.remove_node, own, allow_graceful=False)
            return
        command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node"]
        command += ["--address", deployed.cluster.address, "--node-id", node]
        command += ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "a test"]
        command += ["--deadline-remaining-seconds", "300"]
        await asyncio.to_thread(subprocess.run, command, check=True)

    async def work() -> None:
        first = await deployed.reach("talk")
        await first.send('{"target_lang": "es", "resume": true, "tentative": true}')
        token = json.loads(await first.recv())["token"]
        heard = asyncio.Event()

        async def listen() -> None:
            async for message in first:
                told.take(str(message))
                if len(told.words) > 2:
                    heard.set()

        async def say() -> None:
            for start in range(0, len(samples), 800):
                await first.send(samples[start : start + 800].tobytes())
                await asyncio.sleep(0.2)

        ending = asyncio.gather(listen(), say(), return_exceptions=True)
        await heard.wait()
        node = deployed.node(first)
        going = asyncio.create_task(go(node))
        assert all(isinstance(each, ConnectionClosed) for each in await ending)
        assert first.close_code == (1006 if killed else 1012)
        second = await deployed.reach("talk")
        count = await go_on(second, token, samples, told)
        assert 0 < count < len(samples)
        assert deployed.node(second) != node
        await going

    asyncio.run(asyncio.wait_for(work(), 240))
    expected = alone(translator_of(checkpoint, task="asr"), samples, 16_000)
    assert told.text == " ".join(expected) and len(expected) > 20
