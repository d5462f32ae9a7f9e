"""The server: who is let in, what runs, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import ssl
from typing import Any

import torch
from websockets.asyncio.server import Server as Listening
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from echostream.errors import ConfigError
from echostream.hosts.server import web
from echostream.hosts.server.absent import Absences
from echostream.hosts.server.conversation import Conversation
from echostream.hosts.server.engine import Engine
from echostream.hosts.server.keeping import InFolder, InMemory, Keeper, Kept
from echostream.hosts.server.meter import Meter
from echostream.hosts.server.options import ServerOptions
from echostream.hosts.server.speech import Speech
from echostream.hosts.server.worker import in_process, in_thread
from echostream.session import SystemOptions, Translator

_log = logging.getLogger(__name__)

TRY_AGAIN = 1013
"""Code of a WebSocket server that has no room."""


class Server:
    """One model, many clients; ``async with Server(...)`` serves until the block ends.

    Entering raises CheckpointError or ConfigError: if the checkpoint or an option cannot be used,
    the encoder takes one stream at a time, or the address is taken.

    Args:
        system: what is translated with.
        options: where to listen, and limits.
        device: of the model.
        translator: of ``system``, to be used in a thread; without it processes load their own.
    """

    def __init__(
        self,
        system: SystemOptions,
        options: ServerOptions | None = None,
        *,
        device: str = "cpu",
        translator: Translator | None = None,
    ) -> None:
        self.options = options or ServerOptions()
        self.meter = Meter()
        batch = self.options.max_batch
        if translator is None:
            launches = [in_process(system, device, batch)] * processes_of(self.options, device)
        else:
            launches = [in_thread(translator, system, batch)]
        self._engine = Engine(launches, self.meter)
        self._conversations: set[Conversation] = set()
        self._page = web.page_files()
        self._draining = False
        self._saving: asyncio.Task[None] | None = None
        self._listening: Listening | None = None

    @property
    def serves(self) -> bool:
        """Whether it has begun to listen."""
        return self._listening is not None

    @property
    def url(self) -> str:
        """Of the page, once it is served."""
        if self._listening is None:
            raise ConfigError("the server has no address yet; expected to be asked once it serves")
        port = next(iter(self._listening.sockets)).getsockname()[1]
        scheme = "http" if self.options.certificate is None else "https"
        host = f"[{self.options.host}]" if ":" in self.options.host else self.options.host
        return f"{scheme}://{host}:{port}/"

    async def __aenter__(self) -> Server:
        await self._engine.start()
        try:
            self._absences = Absences(self._keeper(), self._speech)
            self._listening = await serve(
                self._converse,
                self.options.host,
                self.options.port,
                process_request=self._admit,
                ssl=_tls(self.options),
                compression=None,
                max_size=self.options.max_message_bytes,
                # Clients that send a file do not read meanwhile, and answer no ping: who is gone
                # is found by the silence.
                ping_timeout=None,
                server_header=None,
            )
        except BaseException as error:
            await self._engine.stop()
            if not isinstance(error, OSError):
                raise
            raise ConfigError(
                f"{self.options.host}:{self.options.port} cannot be listened on "
                f"({error.strerror or error}); expected an address of this machine and a port that "
                "is free: --host, --port"
            ) from error
        if self.options.save_s:
            self._saving = asyncio.create_task(self._save())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._saving is not None:
            self._saving.cancel()
        if self._listening is not None:
            self._listening.close()
            await self._listening.wait_closed()
        await self._engine.stop()

    async def drain(self) -> None:
        """Let nobody in any more; streams may go on for a while, and are then ended whole.

        Where another server can take them up, those that have a token are saved instead.
        """
        self._draining = True
        self._emptied = asyncio.Event()
        self._note()
        if self.options.streams is not None:
            for conversation in self._conversations:
                conversation.move()
        try:
            await asyncio.wait_for(self._emptied.wait(), self.options.drain_s)
        except TimeoutError:
            for conversation in tuple(self._conversations):
                conversation.leave()
            await self._emptied.wait()

    def refusal(self) -> str | None:
        """Why another client would not be let in now."""
        if self._draining:
            return "the server is shutting down"
        if len(self._conversations) >= self.options.max_clients:
            return (
                f"{len(self._conversations)} clients are connected, which is all that this server "
                "takes; try again later"
            )
        if self._conversations and self.meter.is_late(self._engine.chunk_ms / 1000):
            return (
                "the server is overloaded: words come later after their chunk of audio than the "
                f"{self._engine.chunk_ms} ms that it lasts; try again later"
            )
        return None

    def load(self) -> float:
        """0 to 1: what is taken of its places, or how far streams are behind in parts of a chunk,
        whichever is more."""
        taken = len(self._conversations) / self.options.max_clients
        behind = 1000 * self.meter.median_late_s() / self._engine.chunk_ms
        return min(1.0, max(taken, behind))

    @property
    def works(self) -> bool:
        """Whether a process computes."""
        return self._engine.works

    @property
    def about(self) -> dict[str, Any]:
        """What clients need to know."""
        facts = self._engine.facts
        return {
            **facts.choices,
            "chunk_ms": facts.chunk_ms,
            "separator": facts.separator,
            "needs_token": self.options.token is not None,
        }

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """The answer to a request; ``None`` lets a WebSocket in."""
        if not web.wants_websocket(request):
            return self._answer(request)
        if not web.is_welcome(request, self.options):
            return web.answer(403, "pages of other hosts may not connect; see --origin\n")
        if not web.has_token(request, self.options.token):
            return web.answer(401, "a token is needed\n", WWW_Authenticate="Bearer")
        reason = self.refusal()
        if reason is not None:
            self.meter.refused += 1
            return web.answer(503, reason + "\n", Retry_After="5")
        return None

    def _answer(self, request: Request) -> Response:
        path = web.path_of(request)
        if path == "/health":
            reason = self.refusal()
            told: dict[str, Any] = {"status": "ok", "clients": len(self._conversations)}
            if reason is not None:
                told |= {"status": "refusing", "reason": reason}
            return web.json_answer(503 if self._draining else 200, told)
        if path == "/about":
            return web.json_answer(200, self.about)
        if path == "/metrics":
            if not web.has_token(request, self.options.token):
                return web.answer(401, "a token is needed\n", WWW_Authenticate="Bearer")
            return web.answer(
                200, self.meter.prometheus(self._engine.behind_s()), "text/plain; version=0.0.4"
            )
        return self._page.get(path) or web.answer(404, "there is nothing here\n")

    async def _converse(self, connection: ServerConnection) -> None:
        if self.refusal() is not None:  # Others came in since the handshake began.
            await connection.close(TRY_AGAIN, "no room; try again later")
            return
        conversation = Conversation(
            connection, self._speech(), self._absences, self.options, self.meter
        )
        self._conversations.add(conversation)
        self._note()
        try:
            await conversation.run()
        finally:
            self._conversations.discard(conversation)
            self._note()

    async def _save(self) -> None:
        while True:
            await asyncio.sleep(self.options.save_s)
            await self._absences.save()

    def _speech(self, kept: Kept | None = None) -> Speech:
        return Speech(self._engine, self._engine.facts.separator, kept)

    def _keeper(self) -> Keeper:
        folder, seconds = self.options.streams, self.options.resume_s
        if folder is None:
            return InMemory(seconds, self.options.max_clients)
        return InFolder(folder, self._engine.facts.fingerprint, seconds)

    def _note(self) -> None:
        self.meter.clients = len(self._conversations)
        if self._draining and not self._conversations:
            self._emptied.set()


def processes_of(options: ServerOptions, device: str) -> int:
    """How many compute: as was said, or one for each batch of clients while there are cores."""
    if options.processes or torch.device(device).type != "cpu":
        return options.processes or 1
    return min(os.cpu_count() or 1, math.ceil(options.max_clients / options.max_batch))


def _tls(options: ServerOptions) -> ssl.SSLContext | None:
    if options.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(options.certificate, options.key)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(
            f"the certificate {options.certificate} cannot be used ({error}); expected a PEM file "
            "with its chain, and its key there or in --key"
        ) from error
    return context
