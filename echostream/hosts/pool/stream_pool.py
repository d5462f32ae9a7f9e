"""Streams of one translator, computed together.

Symbols: ``B`` streams of a batch, ``T`` feature frames of a chunk, ``F`` mel bins.

A chunk's time is mostly the reading of weights, which is the same for one stream and for many. The
pool lets each stream wait until it has a whole chunk, or has ended, and takes as many as there are
through the encoder and the CTC heads at once; search and policy are each stream's own.
"""

import logging
import threading
from collections.abc import Sequence

import torch
from torch.nn.utils.rnn import pad_sequence

from echostream.audio.samples import Samples, as_array, join_segments
from echostream.constants import FRAME_SHIFT_MS
from echostream.encoder.state import EncoderState
from echostream.encoder.stepping import call_sizes
from echostream.errors import AudioFormatError, ConfigError, EchoStreamError, StreamClosedError
from echostream.hosts.pool.waiting_stream import Detached, Portion, Served, Share, WaitingStream
from echostream.session.costs import Costs, sum_costs
from echostream.session.listener import ListenerState
from echostream.session.session import Observer, Segment, Session
from echostream.session.translator import Step, Translator, TranslatorState
from echostream.session.writer import WriterState

_log = logging.getLogger(__name__)


class OverloadError(EchoStreamError):
    """More than the pool takes now; the same call may succeed later."""


class StreamPool:
    """Streams that come and go; each gets what it would get alone.

    Streams are served in turns, a chunk at a time, in the order in which they became ready, so none
    waits for more than one turn of all others. All methods may be called from several threads; with
    more than one that runs batches, what a stream gets may reach the host out of order.

    Args:
        translator: what the streams share; its encoder takes batches.
        max_batch: streams in one encoder call.
        max_streams: streams that may be open.
        max_ahead_ms: audio of one stream that may wait, at least a chunk.

    Raises:
        ConfigError: for another encoder, or limits that cannot be.
    """

    def __init__(
        self,
        translator: Translator,
        max_batch: int = 16,
        *,
        max_streams: int = 256,
        max_ahead_ms: int = 10_000,
    ) -> None:
        encoder = translator.listener.encoder
        if not encoder.capabilities.batched:
            raise ConfigError(
                f"the encoder is {type(encoder).__name__}, which takes one stream at a time; "
                "expected one that takes batches, such as zipformer or whisper"
            )
        for name, limit in (("max_batch", max_batch), ("max_streams", max_streams)):
            if limit < 1:
                raise ConfigError(f"{name} is {limit}; expected a number from 1 on")
        initial = translator.listener.init_state().encoder
        chunk_ms = (initial.chunk_size + initial.right_context) * encoder.frame_ms
        if max_ahead_ms < chunk_ms:
            raise ConfigError(
                f"max_ahead_ms is {max_ahead_ms}; expected at least {chunk_ms} ms, a chunk with "
                "its right context, or no chunk would ever be whole"
            )
        # Any number in torch, few where each takes a graph of its own.
        self._sizes: frozenset[int] = encoder.batch_sizes(max_batch)
        for size in sorted(self._sizes):
            encoder.prepare(EncoderState.stack([initial] * size))
        self.translator = translator
        self.max_batch = max_batch
        self.max_streams = max_streams
        self.max_ahead_ms = max_ahead_ms
        self._encoder = encoder
        self._streams: dict[int, WaitingStream] = {}
        # Keys are the streams that are ready, longest first; values are not used.
        self._line: dict[int, None] = {}
        self._opened = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Open streams."""
        return len(self._streams)

    def __contains__(self, stream: int) -> bool:
        return stream in self._streams

    @property
    def num_ready(self) -> int:
        """Streams for which :meth:`run_ready` has something to do."""
        return len(self._line)

    def waiting_ms(self, stream: int) -> int:
        """Audio of a stream that has not been encoded."""
        with self._lock:
            return self._stream(stream).waiting_ms

    def at_hand(self, stream: int) -> tuple[str, ...]:
        """:meth:`Writer.at_hand` of a stream; to be asked between batches, not while one runs."""
        with self._lock:
            return self.translator.writer.at_hand(self._stream(stream).writer)

    def open(
        self,
        reference: str | None = None,
        *,
        recording: int = 0,
        observers: Sequence[Observer] = (),
        detached: Detached | None = None,
    ) -> int:
        """Begin a stream, see :class:`Session`, or go on with a detached one; its number, never
        used again.

        Raises:
            OverloadError: if ``max_streams`` are open.
        """
        with self._lock:
            if len(self._streams) >= self.max_streams:
                raise OverloadError(
                    f"{len(self._streams)} streams are open, which is max_streams; close one, or "
                    "try again when one has finished"
                )
            number = self._opened
            self._opened += 1
            session = Session(
                self.translator,
                recording=recording,
                reference=reference,
                observers=observers,
                state=None if detached is None else detached.state,
            )
            self._streams[number] = stream = WaitingStream(number, session)
            if detached is not None:
                stream.put(detached.features)
                self._queue(stream)
        return number

    def detach(self, stream: int) -> Detached:
        """Take a stream out, to go on in this pool or another one of an equal translator.

        To be called between batches, not while one runs. Observers are told of what was served.

        Raises:
            StreamClosedError: if the stream is not in the pool.
        """
        with self._lock:
            found = self._stream(stream)
            self._drop(found)
            return found.detached()

    def push(self, stream: int, samples: Samples, sample_rate: int | None) -> None:
        """More audio of a stream, in any form the front end takes; it is not encoded yet.

        Raises:
            StreamClosedError: if the stream has ended or is not in the pool.
            AudioFormatError: for audio that cannot be used.
            OverloadError: if more than ``max_ahead_ms`` would wait. In both cases the stream stays
                as it was.
        """
        with self._lock:
            found = self._stream(stream)
            if found.ending:
                raise StreamClosedError(
                    f"audio was pushed into stream {stream}, which was finished; open a new one"
                )
            self._hear(found, samples, sample_rate, is_final=False)

    def finish(self, stream: int) -> None:
        """The stream's source has ended; what waits is still encoded. Finishing again does nothing.

        Raises:
            StreamClosedError: if the stream is not in the pool.
        """
        with self._lock:
            found = self._stream(stream)
            if not found.ending:
                self._hear(found, [], None, is_final=True)

    def close(self, stream: int) -> None:
        """Drop a stream and all that waits of it. A stream that is served to its end needs none.

        Raises:
            StreamClosedError: if the stream is not in the pool.
        """
        with self._lock:
            self._drop(self._stream(stream))

    def run_ready(self) -> dict[int, Served]:
        """Compute one batch: the next chunk of up to ``max_batch`` ready streams.

        Call it while there are streams ready (:attr:`num_ready`). Returns what each stream in the
        batch got, by number; empty if none was ready. A stream whose search or policy raises is
        dropped, and the others go on.
        """
        with self._lock:
            batch = [stream.take() for stream in self._next_batch()]
            for portion in batch:
                del self._line[portion.stream.number]
        try:
            encoded = self._encode([portion for portion in batch if portion.has_frames])
            written = [self._write(portion, encoded) for portion in batch]
        except BaseException:
            with self._lock:
                self._put_back(batch)
            raise
        served = {}
        with self._lock:
            for portion, (outcome, writer) in zip(batch, written, strict=True):
                stream = portion.stream
                if stream.number not in self._streams:  # It was closed in the meantime.
                    continue
                served[stream.number] = outcome
                if outcome.error is None:
                    stream.writer = writer
                    self._note(stream, portion, outcome.step, encoded)
                if outcome.finished:
                    self._drop(stream)
                else:
                    self._queue(stream)
        return served

    def _stream(self, number: int) -> WaitingStream:
        found = self._streams.get(number)
        if found is None:
            raise StreamClosedError(
                f"stream {number} is not in the pool; expected one that open() gave and that has "
                "neither been closed nor served to its end"
            )
        return found

    def _hear(
        self, stream: WaitingStream, samples: Samples, sample_rate: int | None, *, is_final: bool
    ) -> None:
        listener = self.translator.listener
        started = listener.clock()
        try:
            features, front_end = listener.hear(
                samples, sample_rate, stream.front_end, is_final=is_final
            )
        except AudioFormatError as error:
            stream.refused.append((Segment(samples, sample_rate, is_final), error))
            if not (stream.pushed or stream.turns):
                self._tell(stream, is_final=False)
            raise
        ahead = stream.waiting_ms + len(features) * FRAME_SHIFT_MS
        if ahead > self.max_ahead_ms and not is_final:
            raise OverloadError(
                f"{ahead} ms of audio of stream {stream.number} would wait; expected at most "
                f"{self.max_ahead_ms} (max_ahead_ms): push less at a time, and again after "
                "run_ready()"
            )
        stream.front_end = front_end
        stream.front_end_ms += 1000 * (listener.clock() - started)
        stream.put(features)
        stream.ending = is_final
        if stream.session.is_watched and len(samples):
            stream.pushed.append(as_array(samples))
            stream.sample_rate = sample_rate
        self._queue(stream)
        if not stream.is_ready and not stream.served:
            stream.costs = {"front_end": stream.front_end_ms - stream.told_ms}
            stream.told_ms = stream.front_end_ms
            self._tell(stream, is_final=False)

    def _note(
        self, stream: WaitingStream, portion: Portion, step: Step, encoded: dict[int, Share]
    ) -> None:
        """Take what a batch gave a stream."""
        if stream.number in encoded:
            stream.encoder = encoded[stream.number].state
        stream.turns += step.turns
        stream.costs = sum_costs(stream.costs, step.costs, {"front_end": -stream.told_ms})
        stream.told_ms = 0.0
        stream.served = False
        if portion.is_final or not stream.is_ready:
            self._tell(stream, is_final=portion.is_final)

    def _tell(self, stream: WaitingStream, *, is_final: bool) -> None:
        """Tell a stream's session of everything since it was last told."""
        encoder = stream.encoder
        if stream.session.is_watched and stream.num_frames and not is_final:
            # Alone, a stream keeps in the encoder's state what does not fill a chunk.
            features = stream.waiting_features()[None].to(encoder.device)
            encoder = self._encoder.step(features, encoder, is_final=False)[2]
        listener = ListenerState(stream.front_end, encoder, is_final)
        stream.session.stepped(
            Segment(join_segments(stream.pushed), stream.sample_rate, is_final),
            Step(stream.turns, stream.costs),
            TranslatorState(listener, stream.writer),
        )
        stream.pushed, stream.turns, stream.costs = [], (), {}
        refused, stream.refused = stream.refused, []
        for segment, error in refused:
            stream.session.refuse(segment, error)

    def _queue(self, stream: WaitingStream) -> None:
        """Put a stream at the end of the line, unless it is in it or not ready."""
        if stream.is_ready:
            self._line.setdefault(stream.number)

    def _drop(self, stream: WaitingStream) -> None:
        del self._streams[stream.number]
        self._line.pop(stream.number, None)

    def _next_batch(self) -> list[WaitingStream]:
        """The first in the line, as many as make a good batch, and all that only have to end."""
        waiting = [self._streams[number] for number in self._line]
        busy = [stream for stream in waiting if stream.has_frames][: self.max_batch]
        if busy:
            busy = busy[: call_sizes(len(busy), self._sizes)[0]]
        return [stream for stream in waiting if not stream.has_frames] + busy

    def _put_back(self, batch: list[Portion]) -> None:
        """Undo a batch that came to nothing: its streams are first in the line again."""
        line, self._line = self._line, {}
        for portion in batch:
            portion.stream.put_back(portion)
            if portion.stream.number in self._streams:
                self._queue(portion.stream)
        self._line |= line

    def _encode(self, batch: list[Portion]) -> dict[int, Share]:
        """The encoder and the CTC heads for all streams together."""
        if not batch:
            return {}
        listener = self.translator.listener
        listener.use_threads()
        started = listener.clock()
        size = min(size for size in self._sizes if size >= len(batch))
        # Empty places are filled with the first stream again, which costs no memory of its own.
        rows = batch + batch[:1] * (size - len(batch))
        states = EncoderState.stack([portion.stream.encoder for portion in rows])
        features = pad_sequence([portion.features for portion in rows], batch_first=True)
        frames, lengths, states = self._encoder.step(
            features.to(states.device),
            states,
            torch.tensor([len(portion.features) for portion in rows]),
            is_final=torch.tensor([portion.is_final for portion in rows]),
        )
        own = [states] if size == 1 else states.rows(slice(len(batch))).unstack()
        encoded = listener.clock()
        counts = lengths.tolist()[: len(batch)]
        chunks = listener.chunks(frames[: len(batch)], counts, states.chunk_size)
        costs = {
            "encoder": 1000 * (encoded - started) / len(batch),
            "heads": 1000 * (listener.clock() - encoded) / len(batch),
        }
        return {
            portion.stream.number: Share(state, own_chunks, costs)
            for portion, state, own_chunks in zip(batch, own, chunks, strict=True)
        }

    def _write(self, portion: Portion, encoded: dict[int, Share]) -> tuple[Served, WriterState]:
        """Search and policy of one stream."""
        stream = portion.stream
        share = encoded.get(stream.number)
        chunks, shared = ((), {}) if share is None else (share.chunks, share.costs)
        costs: Costs = sum_costs({"front_end": portion.front_end_ms}, shared)
        try:
            turns, own, writer = self.translator.writer.step(
                chunks, stream.writer, is_final=portion.is_final
            )
        except Exception as error:  # A policy from elsewhere may raise anything.
            _log.exception("stream %d is dropped: its search or policy failed", stream.number)
            return Served(Step((), costs), finished=True, error=error), stream.writer
        return Served(Step(turns, sum_costs(costs, own)), portion.is_final), writer
