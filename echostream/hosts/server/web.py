"""What the server answers to plain HTTP: its page, how it is, and who is let in."""

import hmac
import http
import json
from importlib import resources
from urllib.parse import SplitResult, parse_qs, urlsplit

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from echostream.hosts.server.options import ServerOptions

_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page_files() -> dict[str, Response]:
    """The page, by path."""
    found = {}
    for file in resources.files("echostream.hosts.server").joinpath("page").iterdir():
        kind = _TYPES.get(file.name.rpartition(".")[2])
        if kind is not None:
            found[f"/{file.name}"] = answer(200, file.read_bytes(), kind)
    found["/"] = found["/index.html"]
    return found


def answer(
    status: int, body: bytes | str, kind: str = "text/plain; charset=utf-8", **more: str
) -> Response:
    """A response; ``more`` are headers with underscores for hyphens."""
    data = body.encode() if isinstance(body, str) else body
    headers = Headers(
        {
            "Content-Type": kind,
            "Content-Length": str(len(data)),
            "Content-Security-Policy": _POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-cache",
            "Connection": "close",
            **{name.replace("_", "-"): value for name, value in more.items()},
        }
    )
    return Response(status, http.HTTPStatus(status).phrase, headers, data)


def json_answer(status: int, value: object) -> Response:
    """A response that is JSON."""
    return answer(status, json.dumps(value, ensure_ascii=False) + "\n", "application/json")


def _split(url: str) -> SplitResult:
    """The parts of an address; none of one that is no address, such as ``//[``."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def path_of(request: Request) -> str:
    """Without the query."""
    return _split(request.path).path


def wants_websocket(request: Request) -> bool:
    """Whether it is the handshake of a WebSocket."""
    return any("websocket" in each.lower() for each in request.headers.get_all("Upgrade"))


def has_token(request: Request, token: str | None) -> bool:
    """Whether it shows the token: ``Authorization: Bearer`` or, as browsers must, ``?token=``."""
    if token is None:
        return True
    shown = [
        each.removeprefix("Bearer ").strip() for each in request.headers.get_all("Authorization")
    ]
    shown += parse_qs(_split(request.path).query).get("token", [])
    return any(hmac.compare_digest(each.encode(), token.encode()) for each in shown)


def is_welcome(request: Request, options: ServerOptions) -> bool:
    """Whether it is from no page at all, one of this host, or one that was named."""
    hosts = {_split(f"//{host}").hostname for host in request.headers.get_all("Host")}
    welcome = (hosts | set(options.origins)) - {None}
    return all(_split(origin).hostname in welcome for origin in request.headers.get_all("Origin"))
