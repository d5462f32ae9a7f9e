"""Clients whose connection broke, and who may come back."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

from echostream.hosts.server.messages import MessageError, event_json
from echostream.hosts.server.speech import Speech


class Absences:
    """Speeches by the token with which they are taken up again.

    Args:
        seconds: after which somebody who is away is given up.
        most: who are waited for at once; the first of more is given up.
    """

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds, self._most = seconds, most
        self._known: dict[str, tuple[Speech, Callable[[], None]]] = {}
        """With what hangs up the connection that has it."""
        self._away: dict[str, asyncio.TimerHandle] = {}

    def name(self, speech: Speech, hang_up: Callable[[], None]) -> None:
        """Give a speech a token, and tell the client."""
        if speech.token is None:
            speech.token = secrets.token_urlsafe(16)
        self._known[speech.token] = (speech, hang_up)
        speech.released.clear()
        speech.outbox.tell(event_json(token=speech.token))

    async def take(self, token: str, hang_up: Callable[[], None]) -> Speech:
        """The speech of a client that is back; a connection that still has it is hung up.

        Raises:
            MessageError: if it is not kept, or not any more.
        """
        if token in self._known:
            speech, other = self._known[token]
            other()
            await speech.released.wait()
            # Another connection may have been quicker.
            if (timer := self._away.pop(token, None)) is not None:
                timer.cancel()
                speech.released.clear()
                self._known[token] = (speech, hang_up)
                return speech
        raise MessageError(
            "there is no stream with this token, or none any more; expected to come back within "
            f"{self._seconds:g} s: begin another one"
        )

    def release(self, speech: Speech, *, broken: bool) -> None:
        """A connection is over; a speech that may be taken up is kept for a while."""
        if speech.token is None or not broken or self._seconds <= 0:
            self._give_up(speech)
            return
        loop = asyncio.get_running_loop()
        self._away[speech.token] = loop.call_later(self._seconds, self._give_up, speech)
        if len(self._away) > self._most:
            self._give_up(self._known[next(iter(self._away))][0])
        speech.released.set()

    def give_up_all(self) -> None:
        """Nobody is waited for any more."""
        for token in tuple(self._away):
            self._give_up(self._known[token][0])

    def _give_up(self, speech: Speech) -> None:
        speech.close()
        if speech.token is not None:
            self._known.pop(speech.token, None)
            timer = self._away.pop(speech.token, None)
            if timer is not None:
                timer.cancel()
        speech.released.set()
