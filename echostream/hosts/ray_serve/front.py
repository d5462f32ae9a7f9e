"""Where clients come first: it sends each stream to a server, and has the page."""

import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.http11 import Response

from echostream.hosts.ray_serve.choice import Choice, Seen
from echostream.hosts.server import web

NAME = "front"
"""Of its deployment."""

_GONE_S = 3.0
"""After which a server that says nothing more is taken for lost."""

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Front:
    """A WebSocket is answered with a redirect to a server, so no audio comes through here.

    Args:
        servers: say where they are by :meth:`note`; as an argument they are deployed too.
    """

    def __init__(self, servers: object) -> None:
        self._choice = Choice()
        self._seen: dict[str, tuple[float, Seen]] = {}
        self._page = web.page_files()

    async def note(self, seen: Seen) -> None:
        """A server is there."""
        self._seen[seen.url] = (time.monotonic(), seen)

    def __serve_build_asgi_app__(self) -> Callable[..., Awaitable[None]]:
        """What Serve asks for the answers to HTTP."""

        # Uvicorn takes a method for another version of ASGI.
        async def serve(scope: Message, receive: Receive, send: Send) -> None:
            await self._serve(scope, receive, send)

        return serve

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        """ASGI, https://asgi.readthedocs.io/en/latest/specs/www.html."""
        kind = scope["type"]
        while kind == "lifespan":
            event = (await receive())["type"]
            await send({"type": f"{event}.complete"})
            if event == "lifespan.shutdown":
                return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        query = scope["query_string"].decode("latin-1")
        if kind == "websocket":
            kind, path = "websocket.http", None
        told = self._answer(path, query)
        headers = [
            (key.lower().encode(), each.encode("latin-1")) for key, each in told.headers.raw_items()
        ]
        start = {"status": told.status_code, "headers": headers}
        await send({"type": f"{kind}.response.start", **start})
        await send({"type": f"{kind}.response.body", "body": told.body})

    def _answer(self, path: str | None, query: str) -> Response:
        """To a request; ``None`` is a WebSocket."""
        servers = self._servers()
        if path is None or path == "/where":  # For browsers, whose WebSockets follow no redirect.
            names = parse_qs(query).get("stream", [secrets.token_hex(8)])
            chosen = self._choice(names[0], servers)
            if chosen is None:
                return _busy(servers)
            url = f"{chosen.url}?{query}"
            return web.answer(200, url) if path else web.answer(307, "", Location=url)
        if path == "/servers":  # As Prometheus discovers what it watches.
            targets = [
                {"targets": [urlsplit(each.url).netloc], "labels": {"node": each.node}}
                for each in servers
            ]
            return web.json_answer(200, targets)
        if path == "/health":
            if all(each.refusal is not None for each in servers):
                return web.json_answer(503, {"status": "refusing", "reason": _reason(servers)})
            return web.json_answer(200, {"status": "ok", "servers": len(servers)})
        if path == "/about":
            if not servers:
                return _busy(servers)
            return web.json_answer(200, {**servers[0].about, "elsewhere": True})
        return self._page.get(path or "/") or web.answer(404, "there is nothing here\n")

    def _servers(self) -> list[Seen]:
        since = time.monotonic() - _GONE_S
        self._seen = {url: told for url, told in self._seen.items() if told[0] >= since}
        return [seen for _, seen in self._seen.values()]


def _busy(servers: list[Seen]) -> Response:
    return web.answer(503, _reason(servers) + "\n", Retry_After="5")


def _reason(servers: list[Seen]) -> str:
    if not servers:
        return "no server is there yet; try again later"
    return f"none of {len(servers)} servers takes another client; the first: {servers[0].refusal}"
