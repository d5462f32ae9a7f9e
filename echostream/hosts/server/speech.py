"""What one client says and is told: its streams, one after the other, whatever its connection does.

Legend: n samples of a message.
"""

import asyncio
import contextlib
import functools
import logging
from collections import deque
from collections.abc import Iterator, Sequence

from echostream.constants import SAMPLE_RATE
from echostream.errors import StreamClosedError
from echostream.hosts.pool import Served
from echostream.hosts.server.engine import Engine
from echostream.hosts.server.keeping import Kept
from echostream.hosts.server.messages import (
    END,
    Control,
    MessageError,
    Written,
    error_json,
    event_json,
    joined,
    read_audio,
    require_int16,
)
from echostream.hosts.server.options import AHEAD_OF_CHUNK_MS
from echostream.hosts.server.outbox import Outbox
from echostream.hosts.server.stream import Stream
from echostream.hosts.transcript import WrittenWord, words_of

_log = logging.getLogger(__name__)

KEPT_WORDS = 1_000
"""Of a stream that may be taken up again: what was on its way when the connection broke."""


class Speech:
    """Changes in place; belongs to the event loop.

    Args:
        engine: computes the streams.
        separator: between words.
        kept: what it was before its client was away.
    """

    def __init__(self, engine: Engine, separator: str, kept: Kept | None = None) -> None:
        self._engine, self._separator = engine, separator
        self.outbox = Outbox()
        self.token: str | None = None
        """With which it can be taken up after its connection broke; ``None`` if it cannot."""
        self.released = asyncio.Event()
        """That no connection has it."""
        self.keeping = asyncio.Lock()
        """Held while it is written to where streams are kept: what is older must not come last."""
        kept = kept or Kept()
        self._stream: Stream | None = None
        self._saved = kept.stream
        """Which :meth:`go_on` opens again."""
        self._control, self._tentative = kept.control, kept.tentative
        self._held, self._samples = kept.held, kept.samples
        self._words = deque(kept.words, KEPT_WORDS)
        self._num_words, self._shown, self._ended = kept.num_words, kept.shown, kept.ended
        self._known = 0
        """Words that come again, and that the client has from before the server was lost."""
        self._moves = False

    async def obey(self, control: Control) -> None:
        """A message about the audio.

        Raises:
            ConfigError: for a language that the model does not have.
            MessageError: for what cannot be said now.
            AudioFormatError: for audio that cannot be used.
        """
        if control.tentative is not None:
            self._tentative = control.tentative
        languages = (control.source_language, control.target_language)
        if any(each is not None for each in (control.sample_rate, *languages)):
            if self._samples:
                raise MessageError(
                    "sample_rate and languages were given in the middle of a stream; expected them "
                    "before its first audio"
                )
            self._engine.require(*languages)
            kept = self._control
            self._control = Control(
                control.sample_rate or kept.sample_rate,
                control.source_language or kept.source_language,
                control.target_language or kept.target_language,
            )
        if control.ends:
            await self.end()

    async def hear(self, message: bytes) -> None:
        """Audio.

        Raises:
            AudioFormatError: if it cannot be used.
            StreamClosedError: if the stream was ended by an error.
        """
        samples = read_audio(message)
        if not self._samples:
            self._words.clear()
            self._num_words, self._known, self._shown, self._ended = 0, 0, "", False
        self._samples += len(samples)
        self._held += message
        self._engine.meter.audio_s += len(samples) / self._rate
        waiting_ms = 0 if self._stream is None else self._stream.waiting_ms
        held_ms = 500 * len(self._held) / self._rate
        chunk_ms = self._engine.chunk_ms
        if waiting_ms % chunk_ms + held_ms >= chunk_ms - AHEAD_OF_CHUNK_MS:
            await self._push()

    async def end(self) -> None:
        """The stream is over: what is left of it is told. The next audio begins another one."""
        if self._held:
            await self._push()
        if self._stream is not None:
            with self._moving():
                await self._stream.finish()
        self._stream, self._control, self._samples = None, Control(), 0
        self._ended = True
        self.outbox.tell(END)

    async def keep(self) -> Kept:
        """All of it, for one that goes on; nothing is computed of this one any more."""
        stream = None
        if self._stream is not None:
            with contextlib.suppress(StreamClosedError):  # It was ended by an error.
                stream = await self._stream.detach()
            self._stream = None
        return self._kept(self._held, self._samples, stream)

    async def save(self) -> Kept | None:
        """All of it as it is now; ``None`` in the middle of a message."""
        if self._moves:
            return None
        if self._stream is None:
            return self._kept(self._held, self._samples, None)
        # What comes from now on is not in what the worker saves.
        return await self._stream.save(functools.partial(self._kept, self._held, self._samples))

    async def go_on(self) -> None:
        """Compute what was kept."""
        if self._saved is not None:
            self._stream = await self._open(self._saved)
            self._saved = None

    def close(self) -> None:
        """Nobody will hear of it any more."""
        if self._stream is not None:
            self._stream.close()

    def tell_again(self, count: int) -> None:
        """To a client that is back and has ``count`` words: where its audio and its words go on."""
        self._known = max(0, count - self._num_words)
        self.outbox.clear()
        self.outbox.tell(event_json(resumed=True, samples=self._samples))
        first = self._num_words - len(self._words)
        missing = list(self._words)[max(0, count - first) :]
        if missing:
            text = self._text(missing, begun=count > 0)
            self.outbox.write(Written(text, tuple(missing), self._shown, missing[-1].written_ms))
        if self._ended:
            self.outbox.tell(END)

    @property
    def _rate(self) -> int:
        return self._control.sample_rate or SAMPLE_RATE

    async def _push(self) -> None:
        held, self._held = self._held, b""
        samples = read_audio(held)
        require_int16(samples)
        with self._moving():
            if self._stream is None:
                self._stream = await self._open()
            for start in range(0, len(samples), self._rate):
                await self._stream.push(samples[start : start + self._rate], self._rate)

    @contextlib.contextmanager
    def _moving(self) -> Iterator[None]:
        """Audio is on its way to the stream, and neither here nor there."""
        self._moves = True
        try:
            yield
        finally:
            self._moves = False

    def _kept(self, held: bytes, samples: int, stream: bytes | None) -> Kept:
        return Kept(
            self._control,
            self._tentative,
            held,
            samples,
            tuple(self._words),
            self._num_words,
            self._shown,
            self._ended,
            stream,
        )

    async def _open(self, saved: bytes | None = None) -> Stream:
        source, target = self._control.source_language, self._control.target_language
        return await self._engine.open(source, target, self._served, saved)

    def _text(self, words: Sequence[WrittenWord], *, begun: bool) -> str:
        return joined([word.text for word in words], self._separator, begun=begun)

    def _served(self, served: Served, tail: tuple[str, ...]) -> None:
        """A chunk was computed."""
        step = served.step
        words = words_of(step.turns)
        if self.token is not None:
            self._words.extend(words)
        known = min(self._known, len(words))
        self._known -= known
        self._num_words += known
        words = words[known:]
        text = self._text(words, begun=self._num_words > 0)
        self._num_words += len(words)
        shown = joined(tail, self._separator, begun=self._num_words > 0) if self._tentative else ""
        if self._known:
            shown = ""
        if words or shown != self._shown:
            audio_ms = step.turns[-1].audio_ms if step.turns else 0
            waiting_ms = 0 if self._stream is None else self._stream.waiting_ms
            compute_ms = sum(step.costs.values())
            self.outbox.write(Written(text, words, shown, audio_ms, waiting_ms, compute_ms))
        self._shown = shown
        if served.error is not None:
            _log.error("a stream was ended: %s", served.error)
            self.outbox.tell(error_json(f"the stream was ended: {served.error}"))
            self._stream = None
