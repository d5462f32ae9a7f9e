"""Clients whose connection broke, and who may come back."""

import asyncio
import logging
import secrets
from collections.abc import Callable

from echostream.errors import EchoStreamError, StateMismatchError, StreamClosedError
from echostream.hosts.server.keeping import Keeper, Kept
from echostream.hosts.server.messages import MessageError, event_json
from echostream.hosts.server.speech import Speech

_log = logging.getLogger(__name__)


class Absences:
    """Speeches by the token with which they are taken up again.

    Args:
        keeper: has those whose client is away.
        speech_of: makes a speech of what was kept.
    """

    def __init__(self, keeper: Keeper, speech_of: Callable[[Kept], Speech]) -> None:
        self._keeper, self._speech_of = keeper, speech_of
        self._present: dict[str, tuple[Speech, Callable[[], None]]] = {}
        """With what hangs up the connection that has it."""

    def name(self, speech: Speech, hang_up: Callable[[], None]) -> None:
        """Give a speech a token, and tell the client."""
        if speech.token is None:
            speech.token = secrets.token_urlsafe(16)
        self._present[speech.token] = (speech, hang_up)
        speech.outbox.tell(event_json(token=speech.token))

    async def take(self, token: str, hang_up: Callable[[], None]) -> Speech:
        """The speech of a client that is back; a connection that still has it is hung up.

        Raises:
            MessageError: if it is not kept, or not any more.
            StateMismatchError: if what was kept is damaged.
            EchoStreamError: if the process that was to go on is lost; the stream is still kept.
        """
        if token in self._present:
            other, hang_up_other = self._present[token]
            hang_up_other()
            await other.released.wait()
        kept = await self._keeper.take(token)
        if kept is None:
            raise MessageError(
                "there is no stream with this token, or none any more; expected to come back "
                "sooner (--resume-s): begin another one"
            )
        speech = self._speech_of(kept)
        speech.token = token
        try:
            await speech.go_on()
        except StateMismatchError:
            raise
        except EchoStreamError:  # The process is lost; another can take the stream up.
            await self._keeper.put(token, kept)
            raise
        self._present[token] = (speech, hang_up)
        return speech

    async def save(self) -> None:
        """Keep those that are here as well, for another server if this one is lost."""
        for token, (speech, _) in tuple(self._present.items()):
            try:
                kept = await speech.save()
                if kept is not None:
                    # A write goes on in its thread when the server stops, and so must the lock.
                    await asyncio.shield(self._put(speech, token, kept))
            except StreamClosedError:  # It came to its end meanwhile.
                continue
            except EchoStreamError as error:
                _log.error("a stream is not saved: %s", error)

    async def _put(self, speech: Speech, token: str, kept: Kept) -> None:
        async with speech.keeping:
            if not speech.released.is_set():
                await self._keeper.put(token, kept)

    async def release(self, speech: Speech, *, broken: bool) -> None:
        """A connection is over; a speech that may be taken up again is kept for a while."""
        async with speech.keeping:
            try:
                if speech.token is not None and broken:
                    await self._keeper.put(speech.token, await speech.keep())
                elif speech.token is not None:
                    await self._keeper.drop(speech.token)
            except EchoStreamError as error:
                _log.error("a stream is lost: %s", error)
            finally:
                speech.close()
                if speech.token is not None:
                    self._present.pop(speech.token, None)
                speech.released.set()
