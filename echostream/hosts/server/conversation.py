"""One connection: messages in and out, and when the client has to go."""

import asyncio
import time

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from echostream.errors import ConfigError, EchoStreamError
from echostream.hosts.server.absent import Absences
from echostream.hosts.server.messages import Control, error_json, read_control
from echostream.hosts.server.meter import Meter
from echostream.hosts.server.options import MAX_BAD_MESSAGES, ServerOptions
from echostream.hosts.server.speech import Speech

NORMAL, GOING_AWAY, POLICY, RESTART = 1000, 1001, 1008, 1012
"""Codes of RFC 6455, section 7.4.1, and its registry."""

LEAVING = "the server is shutting down"
MOVING = f"{LEAVING}; another one goes on with the stream: connect again and show its token"


class Conversation:
    """A connection and the speech that comes over it.

    Args:
        connection: of the client, after the handshake.
        speech: a new one; a client that is back gets its own in its place.
        absences: those whom a client may be one of.
        options: the limits.
        meter: counts what was wrong.
    """

    def __init__(
        self,
        connection: ServerConnection,
        speech: Speech,
        absences: Absences,
        options: ServerOptions,
        meter: Meter,
    ) -> None:
        self._connection, self._speech, self._absences = connection, speech, absences
        self._options, self._meter = options, meter
        self._speaking: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[str] | None = None
        self._receiving = False
        self._reason = ""
        """Why the client has to go."""
        self._bad = 0
        self._pace = 0.0

    async def run(self) -> None:
        """Until the client goes, or has to."""
        self._speaking = asyncio.create_task(self._speak())
        self._listening = asyncio.create_task(self._listen())
        broken = True
        try:
            await asyncio.wait(
                {self._speaking, self._listening}, return_when=asyncio.FIRST_COMPLETED
            )
            if self._listening.done() and self._listening.result() not in ("", MOVING):
                broken = False
                await self._dismiss(self._listening.result())
        except ConnectionClosed:
            pass
        finally:
            # A message that is being heard is heard to its end, so that whoever comes back has lost
            # nothing of it.
            self.leave()
            await asyncio.gather(self._listening, return_exceptions=True)
            self._speaking.cancel()
            await asyncio.gather(self._speaking, return_exceptions=True)
            if self._connection.close_code in (NORMAL, GOING_AWAY):  # It did not want to stay.
                broken = False
            await self._absences.release(self._speech, broken=broken)
            if self._reason == MOVING:
                await self._connection.close(RESTART, MOVING)

    def move(self) -> None:
        """Save the stream for another server, if its client can take it up there."""
        if self._speech.token is not None:
            self.leave(MOVING)

    def leave(self, reason: str = LEAVING) -> None:
        """Hang up; but for :data:`MOVING`, end the stream and tell what is left of it."""
        self._reason = self._reason or reason
        # In the middle of a message it looks by itself, and no audio is lost.
        if self._receiving and self._listening is not None:
            self._listening.cancel()

    def hang_up(self) -> None:
        """The client has come back over another connection."""
        self._connection.transport.abort()

    async def _dismiss(self, reason: str) -> None:
        """Tell everything that is to be told, and close."""
        if reason == LEAVING:
            await self._speech.end()
        else:
            self._speech.outbox.tell(error_json(reason))
        told = asyncio.create_task(self._speech.outbox.emptied())
        sent = self._speaking
        await asyncio.wait({told, sent} if sent else {told}, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        code = GOING_AWAY if reason == LEAVING else POLICY
        await self._connection.close(code, reason[:120])

    async def _listen(self) -> str:
        """Take messages; why the client has to go, or nothing if it went."""
        while not self._reason:
            self._receiving = True
            try:
                async with asyncio.timeout(self._options.idle_s):
                    message = await self._connection.recv()
            except TimeoutError:
                return f"nothing came for {self._options.idle_s:g} s"
            except ConnectionClosed:
                return ""
            except asyncio.CancelledError:
                if self._reason:
                    break
                raise
            finally:
                self._receiving = False
            await self._keep_pace()
            if self._speech.outbox.is_full:
                return "messages are not read"
            try:
                if isinstance(message, bytes):
                    await self._speech.hear(message)
                else:
                    await self._obey(read_control(message))
            except ConfigError as error:  # Languages that there are not: all else would be in vain.
                return str(error)
            except EchoStreamError as error:
                self._meter.errors += 1
                self._bad += 1
                self._speech.outbox.tell(error_json(str(error)))
                if self._bad >= MAX_BAD_MESSAGES:
                    return f"{self._bad} messages could not be used"
        return self._reason

    async def _obey(self, control: Control) -> None:
        if isinstance(control.resume, str):
            if control.resume != self._speech.token:
                back = await self._absences.take(control.resume, self.hang_up)
                previous, self._speech = self._speech, back
                await self._absences.release(previous, broken=False)
                previous.outbox.tell("")
            self._speech.tell_again(control.words)
        elif control.resume:
            self._absences.name(self._speech, self.hang_up)
        await self._speech.obey(control)

    async def _speak(self) -> None:
        while True:
            message = await self._speech.outbox.take()
            if not message:  # The client was found to be one that is back.
                continue
            try:
                async with asyncio.timeout(self._options.send_s):
                    await self._connection.send(message)
            except (ConnectionClosed, TimeoutError):
                return

    async def _keep_pace(self) -> None:
        """Not more messages a second than there may be; a second's worth may come at once."""
        now = time.monotonic()
        self._pace = max(self._pace, now - 1.0) + 1 / self._options.max_messages
        if self._pace > now:
            await asyncio.sleep(self._pace - now)
