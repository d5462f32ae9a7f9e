"""Segments of any size in, encoder frames of whole chunks out.

Symbols: ``B`` streams, ``T`` feature frames (100 Hz), ``c`` encoder frames of a chunk (50 Hz),
``r`` encoder frames of right context, ``C`` output channels, ``F`` mel bins.

What is the same for every way to compute a chunk stands here: the model itself in torch, and the
compiled forms of it in :mod:`echostream.backend`, of which each is for one number of streams. A
chunk is always computed alone, so how the audio was cut changes nothing, to the bit.
"""

import abc
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from echostream.constants import CHUNK_MULTIPLE, ENCODER_FRAME_MS, SUBSAMPLING
from echostream.encoder.checks import check_features, check_lengths, check_state
from echostream.encoder.chunk_state import ChunkState, restored
from echostream.encoder.protocol import Capabilities, TrainingChunks
from echostream.errors import StateMismatchError

CALL_COST = 4
"""What a call costs by itself, in streams: it reads all weights once, for however many. Measured
for both compiled backends and both shipped sizes of the model: 2.7 to 4.8."""


@functools.lru_cache(maxsize=256)
def call_sizes(streams: int, available: frozenset[int]) -> tuple[int, ...]:
    """The cheapest calls that together hold ``streams``, largest first.

    Each is one of ``available`` (numbers from 1 on, at least one); together they may hold more than
    ``streams``, and the places that are left over come last.
    """
    # best[n] is the cost and the calls for n streams.
    best: list[tuple[int, tuple[int, ...]]] = [(0, ())]
    for count in range(1, streams + 1):
        tried = []
        for size in sorted(available):
            cost, rest = best[max(0, count - size)]
            tried.append((cost + CALL_COST + size, (*rest, size)))
        best.append(min(tried))
    return tuple(sorted(best[streams][1], reverse=True))


@dataclass(frozen=True)
class CutSegment:
    """What a segment gives to encode now, and what waits for the next."""

    chunks: tuple[Tensor, ...]
    """``[B, 2 (c + r), F]`` each; zeros after the frames of each stream that has any in it."""
    lengths: tuple[tuple[int, ...], ...]
    """For each chunk the encoder frames of each stream in it, 0 to ``c + r``."""
    totals: tuple[int, ...]
    """Encoder frames of each stream in all chunks, without right context."""
    pending: Tensor
    """``[B, 2 (c + r), F]`` feature frames that wait, then zeros."""
    pending_lengths: tuple[int, ...]


def cut_segment(
    pending: Tensor,
    pending_lengths: Sequence[int],
    features: Tensor,
    lengths: Sequence[int],
    *,
    is_final: bool | Sequence[bool],
    right_context: int = 0,
) -> CutSegment:
    """Put ``features`` [B, T, F] behind ``pending`` [B, 2 (c + r), F] and cut off whole chunks.

    A chunk is cut off once the ``right_context`` of ``r`` frames behind it is there, too. With
    ``is_final``, of all streams or of each, everything is cut off, the last chunk being shorter,
    and an odd last feature frame is dropped.
    """
    behind = right_context * SUBSAMPLING
    window = pending.shape[1] - behind
    if not behind and not any(pending_lengths) and features.shape[1] == window == min(lengths):
        # The usual segment of a stream, one whole chunk, goes through as it is.
        frames = (window // SUBSAMPLING,) * len(lengths)
        rest = features.new_zeros(pending.shape)
        return CutSegment((features,), (frames,), frames, rest, (0,) * len(lengths))
    queued = [waiting + new for waiting, new in zip(pending_lengths, lengths, strict=True)]
    ending = [is_final] * len(queued) if isinstance(is_final, bool) else list(is_final)
    units = [SUBSAMPLING if end else window for end in ending]
    context = [0 if end else behind for end in ending]
    usable = [
        max(0, count - kept) // unit * unit
        for count, kept, unit in zip(queued, context, units, strict=True)
    ]
    chunks = -(-max(usable) // window)
    queue = features.new_zeros(len(queued), (chunks + 1) * window + behind, features.shape[2])
    for row, (waiting, new) in enumerate(zip(pending_lengths, lengths, strict=True)):
        queue[row, :waiting] = pending[row, :waiting]
        queue[row, waiting : waiting + new] = features[row, :new]
    rest = features.new_zeros(pending.shape)
    left = [
        0 if end else count - used for count, used, end in zip(queued, usable, ending, strict=True)
    ]
    ends = [used + kept if used else 0 for used, kept in zip(usable, context, strict=True)]
    for row, (start, count, end) in enumerate(zip(usable, left, ends, strict=True)):
        rest[row, :count] = queue[row, start : start + count]
        queue[row, end:] = 0.0
    starts = range(0, chunks * window, window)
    return CutSegment(
        chunks=tuple(queue[:, start : start + window + behind] for start in starts),
        lengths=tuple(
            tuple(
                min(end - start, window + behind) // SUBSAMPLING if start < used else 0
                for used, end in zip(usable, ends, strict=True)
            )
            for start in starts
        ),
        totals=tuple(used // SUBSAMPLING for used in usable),
        pending=rest,
        pending_lengths=tuple(left),
    )


WHOLE_RECORDING = -1
"""As ``chunk_size`` of an encoder's ``forward``: the whole recording is one chunk."""


S = TypeVar("S", bound=ChunkState)


class ChunkEncoder(abc.ABC, Generic[S]):
    """Encodes streams segment by segment, given a way to encode one chunk."""

    frame_ms = ENCODER_FRAME_MS
    chunk_multiple = CHUNK_MULTIPLE
    capabilities = Capabilities(
        chunking=frozenset({"chunk_size", "left_context", "max_future_frames"}),
        batched=True,
        portable_state=True,
        compilable=True,
        training=TrainingChunks(
            whole=WHOLE_RECORDING,
            chunk_sizes=(8, 16, 16, 16, 32, 32, 64, None),
            first_chunk_sizes=(64, None),
            # Mostly the whole chunk, which the shipped configuration uses; 0 is learned beside it.
            others={"left_context": (64, 128), "max_future_frames": (None, None, None, None, 0)},
        ),
    )
    name = "torch"
    """The backend that computes the chunks."""
    precision = "float32"

    config: Any
    layout: str
    """Names the configuration, so that states of another one are recognised."""

    @property
    def input_dim(self) -> int:
        """Mel bins ``F``."""
        return self.config.input_dim

    @property
    def output_dim(self) -> int:
        """Channels ``C`` of the encoder frames."""
        return self.config.output_dim

    @abc.abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 over configuration and weights: which encoder a saved state belongs to."""

    @abc.abstractmethod
    def init_state(self, batch_size: int = 1, *, chunk_size: int | None = None) -> S:
        """The state of ``batch_size`` streams that have heard nothing."""

    def restore(self, data: bytes) -> S:
        """The state that ``ChunkState.to_bytes(fingerprint)`` wrote, for the same encoder.

        Raises:
            StateMismatchError: if the bytes are damaged or belong to another encoder.
        """
        return restored(data, self.fingerprint(), self.init_state)

    @property
    @abc.abstractmethod
    def dtype(self) -> torch.dtype:
        """Of features and encoder frames."""

    @abc.abstractmethod
    def _encode_chunk(
        self, features: Tensor, lengths: tuple[int, ...], state: S
    ) -> tuple[Tensor, S]:
        """Encode one chunk of features ``[B, 2 (c + r), F]``.

        ``lengths`` are the encoder frames of each stream in it, of which those after the first
        ``c`` are right context. Frames after them are zero, in the features and in the result
        ``[B, c, C]``. The new state has moved on in ``processed_frames`` and all caches.
        """

    def batch_sizes(self, most: int) -> frozenset[int]:
        """The numbers of streams, up to ``most``, that one call is best made for."""
        return frozenset(range(1, most + 1))

    def prepare(self, state: S) -> None:  # noqa: B027 (most have nothing to do)
        """Do what the first chunk of states like this one would otherwise wait for."""

    def _calls(self, busy: int, state: S) -> tuple[int, ...]:
        """How ``busy`` streams of a batch are computed: the batch sizes of the calls, in order.

        Together they hold ``busy`` or more; a call larger than what is left is filled up, and a
        single call for the whole batch takes it as it stands, the idle streams' results unused.
        """
        return (busy,)

    @torch.no_grad()
    def step(
        self,
        features: Tensor,
        state: S,
        lengths: Tensor | None = None,
        *,
        is_final: bool | Tensor = False,
        active: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, S]:
        """Encode the next segment of each stream.

        Whole chunks are encoded one after the other; the feature frames that do not fill a chunk
        and its right context wait in the state. With ``is_final`` the rest is encoded as it is, and
        the streams end. Streams may be at different positions, and none can disturb another,
        whatever its features.

        Args:
            features: ``[B, T, input_dim]`` new feature frames; ``T`` may be 0.
            state: from :meth:`init_state` or the step before; it is not changed.
            lengths: ``[B]`` new frames of each stream; ``None`` for all ``T``.
            is_final: whether this is the end of every recording of the batch, or ``[B]`` bool, of
                which ones.
            active: ``[B]`` bool: which streams take part; ``None`` for all. Nothing else is read of
                the others: they get no frames, and their state stays as it is, to the bit.

        Returns:
            ``[B, n, C]`` encoder frames, ``[B]`` how many of them are each stream's (on the
            CPU), the new state.

        Raises:
            StreamClosedError: if a stream gets features after its end.
            StateMismatchError: if the state is for another batch size.
        """
        self._check_features(features)
        batch, new, _ = features.shape
        taking_part = [True] * batch if active is None else _flags("active", active, batch)
        given = is_final if isinstance(is_final, Tensor) else None
        ending = [bool(is_final)] * batch if given is None else _flags("is_final", given, batch)
        ending = [end and taken for end, taken in zip(ending, taking_part, strict=True)]
        if lengths is None:
            counts = [new if taken else 0 for taken in taking_part]
        else:
            counts = check_lengths(features, lengths, taking_part)
        check_state(state, self.layout, counts)
        cut = cut_segment(
            state.pending,
            state.pending_lengths.tolist(),
            features,
            counts,
            is_final=ending,
            right_context=state.right_context,
        )
        outputs = []
        for chunk, here in zip(cut.chunks, cut.lengths, strict=True):
            y, state = self._encode_busy(chunk, here, state)
            outputs.append(y)
        pending, one_more = cut.pending, torch.tensor(taking_part).long()
        if active is not None:
            taking = active[:, None, None].to(pending.device)
            pending = torch.where(taking, pending, state.pending)
        state = state.replaced(
            pending=pending,
            pending_lengths=torch.tensor(cut.pending_lengths),
            segment_id=state.segment_id + one_more,
            finished=(state.finished | torch.tensor(ending) if any(ending) else state.finished),
        )
        if outputs:
            joined = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)
            joined = joined[:, : max(cut.totals)]
        else:
            joined = features.new_zeros(batch, 0, self.config.output_dim)
        return joined, torch.tensor(cut.totals), state

    def _encode_busy(
        self, features: Tensor, lengths: tuple[int, ...], state: S
    ) -> tuple[Tensor, S]:
        """As :meth:`_encode_chunk`, for the streams that have frames; the others stay as they are.

        Rows are taken out and put back, never multiplied by zero, so that a stream whose numbers
        are not finite stays alone with them.
        """
        batch = len(lengths)
        busy = [row for row, count in enumerate(lengths) if count]
        calls = self._calls(len(busy), state)
        if calls == (batch,):
            y, after = self._encode_chunk(features, lengths, state)
            if len(busy) < batch:
                idle = torch.tensor(lengths) == 0
                after = state.select(idle, after)
                y = y.masked_fill(idle[:, None, None].to(y.device), 0.0)
            return y, after
        parts, states = [], []
        start = 0
        for size in calls:
            own = busy[start : start + size]
            start += size
            rows = own + own[:1] * (size - len(own))
            index = torch.tensor(rows)
            y, after = self._encode_chunk(
                features[index.to(features.device)],
                tuple(lengths[row] for row in rows),
                state.rows(index),
            )
            parts.append(y[: len(own)])
            states.append(after.rows(slice(len(own))))
        index = torch.tensor(busy)
        y = torch.cat(parts)
        y = y.new_zeros(batch, *y.shape[1:]).index_copy(0, index.to(y.device), y)
        return y, state.with_rows(index, type(state).stack(states))

    def _check_features(self, features: Tensor) -> None:
        check_features(features, self.input_dim, self.dtype)


def _flags(name: str, given: Tensor, batch: int) -> list[bool]:
    if given.shape != (batch,) or given.dtype != torch.bool:
        raise StateMismatchError(
            f"{name} has shape {tuple(given.shape)} and is {given.dtype} for features of {batch} "
            f"streams; expected [{batch}] torch.bool"
        )
    flags: list[bool] = given.tolist()
    return flags
