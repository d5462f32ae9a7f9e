"""``echostream serve``: translation for many clients at once, with a page for browsers."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import logging
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echostream.commands import command
from echostream.commands.system import add_system_arguments, options_of
from echostream.errors import ConfigError

if TYPE_CHECKING:
    from echostream.hosts.server import Server, ServerOptions

_log = logging.getLogger(__name__)

NUMBERS = {
    "port": (int, "to listen on, 0 for any that is free (8080)"),
    "max_clients": (int, "who are served at once; others get HTTP 503 (16)"),
    "max_batch": (int, "streams in one call of the encoder (8)"),
    "processes": (int, "that compute (one for each max-batch of max-clients, at most one a core)"),
    "max_message_bytes": (int, "of one message (1048576)"),
    "max_messages": (int, "of a client a second; more are read more slowly (1000)"),
    "idle_s": (float, "seconds after which a silent client is dropped (60)"),
    "send_s": (float, "seconds in which a client must read a message (60)"),
    "resume_s": (float, "seconds that a stream waits for a client whose connection broke (30)"),
    "save_s": (
        float,
        "seconds after which such streams are saved again and again, for the case that "
        "the server is killed; 0 does not (0)",
    ),
    "drain_s": (float, "seconds that streams may go on after SIGTERM (20)"),
}


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="echostream serve",
        description="A WebSocket server that speaks simulstream's messages, and a page for "
        "browsers. docs/live.md has the protocol.",
        epilog="/health, /metrics (Prometheus) and /about answer plain HTTP.",
    )
    add = parser.add_argument
    add("--host", help="address to listen on (127.0.0.1, this machine only)")
    for name, (kind, text) in NUMBERS.items():
        add("--" + name.replace("_", "-"), type=kind, metavar="N", help=text)
    add("--streams", type=Path, metavar="FOLDER", help="keeps the streams of clients whose "
        "connection broke, and at SIGTERM of all that have a token, for any server of the same "
        "system that shares it")  # fmt: skip
    add("--token-file", type=Path, metavar="FILE", help="holds a token that clients must show")
    add("--certificate", type=Path, metavar="PEM", help="for TLS, which browsers want for a "
        "microphone on another machine")  # fmt: skip
    add("--key", type=Path, metavar="PEM", help="of the certificate, if it is not in it")
    add("--origin", action="append", default=[], metavar="HOST", help="whose pages may connect too")
    add_system_arguments(parser)
    return parser


def server_options(args: argparse.Namespace) -> ServerOptions:
    """The limits that were given.

    Raises:
        ConfigError: if one cannot be, or the token cannot be read.
    """
    from echostream.hosts.server import ServerOptions

    given: dict[str, Any] = {
        name: getattr(args, name) for name in ("host", "certificate", "key", "streams", *NUMBERS)
    }
    given = {name: value for name, value in given.items() if value is not None}
    token = None
    if args.token_file is not None:
        try:
            token = args.token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"--token-file {args.token_file} cannot be read ({error}); expected a text file "
                "with one line"
            ) from error
    return ServerOptions(token=token, origins=tuple(args.origin), **given)


@command("serve", build_parser)
def main(args: argparse.Namespace) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("websockets").setLevel(logging.WARNING)
    try:
        from echostream.hosts.server import Server
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the server needs the package websockets ({error}); expected `pip install "
            "echostream[server]`"
        ) from error
    options = server_options(args)
    asyncio.run(serve_until_told(Server(options_of(args), options, device=args.device)))


async def serve_until_told(server: Server) -> None:
    """Serve until SIGTERM or Ctrl-C, and then as long as it takes to drain."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with server:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told.set)
        _log.info("serving on %s", server.url)
        if server.options.token is None and not _is_loopback(server.options.host):
            _log.warning(
                "everybody who reaches %s can use this server; --token-file keeps others out",
                server.options.host,
            )
        await told.wait()
        _log.info("draining: %d clients", server.meter.clients)
        await server.drain()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
