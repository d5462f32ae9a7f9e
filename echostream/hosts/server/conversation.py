"""One client: what it sends into a stream, what it is told, and when it has to go."""

from __future__ import annotations

import asyncio
import logging
import time

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from echostream.constants import SAMPLE_RATE
from echostream.errors import ConfigError, EchoStreamError
from echostream.hosts.pool import Served
from echostream.hosts.server.engine import Engine, Stream
from echostream.hosts.server.messages import (
    END,
    Control,
    MessageError,
    Written,
    error_json,
    joined,
    read_audio,
    read_control,
)
from echostream.hosts.server.options import HEARD_AT_ONCE_MS, MAX_BAD_MESSAGES, ServerOptions
from echostream.hosts.server.outbox import Outbox
from echostream.hosts.transcript import words_of

_log = logging.getLogger(__name__)

GOING_AWAY, POLICY = 1001, 1008
"""Codes of RFC 6455, section 7.4.1."""

LEAVING = "the server is shutting down"


class Conversation:
    """A connection and the streams that come over it, one after the other.

    Args:
        connection: of the client, after the handshake.
        engine: which computes the streams.
        options: the limits.
        separator: between words.
    """

    def __init__(
        self,
        connection: ServerConnection,
        engine: Engine,
        options: ServerOptions,
        separator: str,
    ) -> None:
        self._connection, self._engine, self._options = connection, engine, options
        self._separator = separator
        self._outbox = Outbox()
        self._stream: Stream | None = None
        self._control = Control()
        self._held = b""
        self._begun = False
        self._tentative = False
        self._shown = ""
        self._bad = 0
        self._pace = 0.0
        self._listening: asyncio.Task[str] | None = None
        self._receiving = self._leaving = False

    async def run(self) -> None:
        """Until the client goes, or has to; its stream is dropped then."""
        speaking = asyncio.create_task(self._speak())
        self._listening = asyncio.create_task(self._listen())
        try:
            await asyncio.wait({speaking, self._listening}, return_when=asyncio.FIRST_COMPLETED)
            if speaking.done():
                return
            reason = self._listening.result()
            if reason:
                code = GOING_AWAY if reason == LEAVING else POLICY
                if code == GOING_AWAY:
                    await self._end()
                else:
                    self._outbox.tell(error_json(reason))
                told = asyncio.create_task(self._outbox.emptied())
                await asyncio.wait({told, speaking}, return_when=asyncio.FIRST_COMPLETED)
                told.cancel()
                await self._connection.close(code, reason[:120])
        except ConnectionClosed:
            pass
        finally:
            for task in (speaking, self._listening):
                task.cancel()
            await asyncio.gather(speaking, self._listening, return_exceptions=True)
            if self._stream is not None:
                self._stream.close()

    def leave(self) -> None:
        """End the stream, tell what is left of it, and hang up."""
        self._leaving = True
        # In the middle of a message it looks by itself, and no audio is lost.
        if self._receiving and self._listening is not None:
            self._listening.cancel()

    async def _listen(self) -> str:
        """Take messages; why the client has to go, or nothing if it went."""
        while not self._leaving:
            self._receiving = True
            try:
                message = await asyncio.wait_for(self._connection.recv(), self._options.idle_s)
            except TimeoutError:
                return f"nothing came for {self._options.idle_s:g} s"
            except ConnectionClosed:
                return ""
            except asyncio.CancelledError:
                if self._leaving:
                    break
                raise
            finally:
                self._receiving = False
            await self._keep_pace()
            if self._outbox.is_full:
                return "messages are not read"
            try:
                if isinstance(message, bytes):
                    await self._hear(message)
                else:
                    await self._obey(read_control(message))
            except ConfigError as error:  # Languages that there are not: all else would be in vain.
                return str(error)
            except EchoStreamError as error:
                self._engine.meter.errors += 1
                self._bad += 1
                self._outbox.tell(error_json(str(error)))
                if self._bad >= MAX_BAD_MESSAGES:
                    return f"{self._bad} messages could not be used"
        return LEAVING

    async def _speak(self) -> None:
        while True:
            message = await self._outbox.take()
            try:
                await asyncio.wait_for(self._connection.send(message), self._options.send_s)
            except (ConnectionClosed, TimeoutError):
                return

    async def _keep_pace(self) -> None:
        """Not more messages a second than there may be; a second's worth may come at once."""
        now = time.monotonic()
        self._pace = max(self._pace, now - 1.0) + 1 / self._options.max_messages
        if self._pace > now:
            await asyncio.sleep(self._pace - now)

    async def _obey(self, control: Control) -> None:
        if control.tentative is not None:
            self._tentative = control.tentative
        languages = (control.source_language, control.target_language)
        about = (control.sample_rate, *languages)
        if any(each is not None for each in about):
            if self._stream is not None or self._held:
                raise MessageError(
                    "sample_rate and languages were given in the middle of a stream; expected them "
                    "before its first audio"
                )
            kept = self._control
            self._engine.require(*languages)
            self._control = Control(
                control.sample_rate or kept.sample_rate,
                control.source_language or kept.source_language,
                control.target_language or kept.target_language,
            )
        if control.ends:
            await self._end()

    async def _hear(self, message: bytes) -> None:
        read_audio(message)
        self._held += message
        rate = self._control.sample_rate or SAMPLE_RATE
        if len(self._held) < 2 * rate * HEARD_AT_ONCE_MS // 1000:
            return
        await self._push()

    async def _push(self) -> None:
        held, self._held = self._held, b""
        samples = read_audio(held)
        rate = self._control.sample_rate or SAMPLE_RATE
        if self._stream is None:
            self._stream = await self._engine.open(
                self._control.source_language, self._control.target_language, self._served
            )
            self._begun = False
        for start in range(0, len(samples), rate):
            await self._stream.push(samples[start : start + rate], rate)

    async def _end(self) -> None:
        """What is left of the stream; the next audio begins another one."""
        if self._held:
            await self._push()
        if self._stream is not None:
            await self._stream.finish()
        self._stream, self._control = None, Control()
        self._outbox.tell(END)

    def _served(self, served: Served, tail: tuple[str, ...]) -> None:
        """A chunk was computed."""
        step = served.step
        words = words_of(step.turns)
        texts = [word.text for word in words]
        text = joined(texts, self._separator, begun=self._begun)
        self._begun = self._begun or bool(words)
        shown = joined(tail, self._separator, begun=self._begun) if self._tentative else ""
        if words or shown != self._shown:
            waiting = 0 if served.finished or self._stream is None else self._stream.waiting_ms
            self._outbox.write(
                Written(
                    text,
                    words,
                    shown,
                    step.turns[-1].audio_ms if step.turns else 0,
                    waiting,
                    sum(step.costs.values()),
                )
            )
        self._shown = shown
        if served.error is not None:
            _log.error("a stream was ended: %s", served.error)
            self._outbox.tell(error_json(f"the stream was ended: {served.error}"))
            self._stream = None
