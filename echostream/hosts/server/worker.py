"""What computes: pools of streams behind a socket, in a process or a thread of its own.

Between two batches all is done that was asked, in the order in which it was. So nothing is done to
a stream in the middle of a batch, and what a batch gave is told before the answer to what was asked
during it.

Legend: n samples of a piece of audio.
"""

import logging
import multiprocessing
import select
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from echostream.codec import decode, encode
from echostream.errors import EchoStreamError, StreamClosedError
from echostream.hosts.pool import Served, StreamPool
from echostream.hosts.server.voices import Voices
from echostream.hosts.server.wire import Answer, Ask, Gave, receive, send
from echostream.session import Step, SystemOptions, Translator, build_translator

_log = logging.getLogger(__name__)

_END_S = 10.0
"""In which a process must have computed its last batch."""


class Worker:
    """Does what is asked and computes what is ready.

    Args:
        link: to whoever asks.
        voices: what there is to choose.
    """

    def __init__(self, link: socket.socket, voices: Voices) -> None:
        self._link, self._voices = link, voices
        self._fingerprint = voices.facts.fingerprint
        self._streams: dict[int, tuple[StreamPool, int]] = {}
        """Those that are open, by the numbers that whoever asks has given them."""

    def run(self) -> None:
        """Until the other end of the socket is closed."""
        while True:
            self._listen(wait=not any(pool.num_ready for pool in self._voices.pools))
            for pool in self._voices.pools:
                if pool.num_ready:
                    self._compute(pool)

    def open(
        self, stream: int, source: str | None, target: str | None, saved: bytes | None
    ) -> None:
        """A stream of the given languages, or one that goes on.

        Raises:
            ConfigError: for languages that the model does not have.
            StateMismatchError: if what was saved is damaged, or of another system.
        """
        detached = None if saved is None else decode(saved, "stream", self._fingerprint)
        self._streams[stream] = self._voices.open(source, target, detached)

    def push(self, stream: int, samples: NDArray[Any], rate: int) -> None:
        """More audio ``[n]``.

        Raises:
            StreamClosedError: if the stream is over.
            AudioFormatError: for audio that cannot be used.
        """
        pool, number = self._open(stream)
        pool.push(number, samples, rate)

    def finish(self, stream: int) -> None:
        """The source has ended.

        Raises:
            StreamClosedError: if the stream is over.
        """
        pool, number = self._open(stream)
        pool.finish(number)

    def detach(self, stream: int) -> bytes:
        """Take the stream out, to go on in any worker.

        Raises:
            StreamClosedError: if it is over.
            StateMismatchError: if a part of it cannot be saved.
        """
        pool, number = self._open(stream)
        del self._streams[stream]
        return encode(pool.detach(number), "stream", self._fingerprint)

    def save(self, stream: int) -> bytes:
        """The same of a stream that goes on here."""
        pool, number = self._open(stream)
        detached = pool.detach(number)
        self._streams[stream] = (pool, pool.open(detached=detached))
        return encode(detached, "stream", self._fingerprint)

    def close(self, stream: int) -> None:
        """Drop the stream, if it is not over."""
        if stream in self._streams:
            pool, number = self._streams.pop(stream)
            pool.close(number)

    def _open(self, stream: int) -> tuple[StreamPool, int]:
        if stream not in self._streams:
            raise StreamClosedError("the stream is over; expected one that is open")
        return self._streams[stream]

    def _listen(self, *, wait: bool) -> None:
        """Do all that was asked, so that batches are as large as they can be.

        It comes to an end, since not more than so much audio of a stream may wait.
        """
        while select.select([self._link], [], [], None if wait else 0)[0]:
            wait = False
            send(self._link, self._answer(receive(self._link)))

    def _answer(self, ask: Ask) -> Answer:
        value, error = None, None
        try:
            value = getattr(self, ask.what)(ask.stream, *ask.arguments)
        except EchoStreamError as own:
            error = own
        except Exception as other:
            _log.exception("a stream is ended")
            error = _failure(other)
        return Answer(ask.number, ask.stream, self._waiting_ms(ask.stream), value, error)

    def _waiting_ms(self, stream: int) -> int:
        if stream not in self._streams:
            return 0
        pool, number = self._streams[stream]
        return pool.waiting_ms(number)

    def _compute(self, pool: StreamPool) -> None:
        """A batch."""
        streams = {number: key for key, (own, number) in self._streams.items() if own is pool}
        try:
            served = pool.run_ready()
        except Exception as error:
            _log.exception("a batch failed; its streams are ended")
            nothing = Served(Step((), {}), finished=True, error=_failure(error))
            for stream in streams.values():
                self.close(stream)
                send(self._link, Gave(stream, 0, nothing))
            return
        for number, outcome in served.items():
            stream = streams[number]
            if outcome.finished:
                del self._streams[stream]
            # An error of somebody else's need not be one that can be sent.
            failed = None if outcome.error is None else EchoStreamError(str(outcome.error))
            told = Served(outcome.step, outcome.finished, failed)
            tail = () if outcome.finished else pool.at_hand(number)
            send(self._link, Gave(stream, self._waiting_ms(stream), told, tail))


def _failure(error: Exception) -> EchoStreamError:
    """Which can be sent, whatever the error is."""
    return EchoStreamError(f"computing failed: {type(error).__name__}: {error}")


Launch = Callable[[socket.socket], Callable[[], None]]
"""Starts a worker at the other end of a socket; what it returns waits for its end, once the socket
is closed. The worker says :class:`Facts` first, or the error for which it cannot begin."""


def in_thread(translator: Translator, system: SystemOptions, max_batch: int) -> Launch:
    """In this process, with a translator that is there."""

    def launch(link: socket.socket) -> Callable[[], None]:
        voices = Voices(translator, system, max_batch)
        thread = threading.Thread(target=_work, args=(link, voices), daemon=True)
        thread.start()
        return thread.join

    return launch


def in_process(system: SystemOptions, device: str, max_batch: int) -> Launch:
    """In a process of its own, which loads the checkpoint."""

    def launch(link: socket.socket) -> Callable[[], None]:
        # Forking a process that has threads can hang.
        context = multiprocessing.get_context("spawn")
        about = (link, system, device, max_batch, _log.getEffectiveLevel())
        process = context.Process(target=_work_in_process, args=about, daemon=True)
        process.start()
        link.close()

        def ended() -> None:
            process.join(_END_S)
            process.kill()
            process.join()

        return ended

    return launch


def _work(link: socket.socket, voices: Voices) -> None:
    with link:
        try:
            send(link, voices.facts)
            Worker(link, voices).run()
        except (EOFError, ConnectionError):  # The other end was closed, or its process killed.
            return


def _work_in_process(
    link: socket.socket, system: SystemOptions, device: str, max_batch: int, level: int
) -> None:
    logging.basicConfig(level=level, format="%(message)s")
    # Both go to the whole group; the server answers them, and ends by closing the socket.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    try:
        voices = Voices(build_translator(system, device), system, max_batch)
    except EchoStreamError as error:
        send(link, error)
        return
    _work(link, voices)
