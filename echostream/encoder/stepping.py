"""Segments of any size in, encoder frames of whole chunks out.

Symbols: ``B`` streams, ``T`` feature frames (100 Hz), ``c`` encoder frames of a chunk (50 Hz),
``C`` output channels, ``F`` mel bins.

What is the same for every way to compute a chunk stands here: the model itself in torch, and the
compiled forms of it in :mod:`echostream.backend`. A chunk is always computed alone, so how the
audio was cut changes nothing, to the bit.
"""

from __future__ import annotations

import abc
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from echostream.constants import CHUNK_MULTIPLE, ENCODER_FRAME_MS
from echostream.encoder.checks import check_features, check_lengths, check_state
from echostream.encoder.chunk_queue import cut_segment
from echostream.encoder.chunk_state import ChunkState, restored
from echostream.encoder.protocol import Capabilities, TrainingChunks
from echostream.errors import StateMismatchError

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
    precision = "float32"

    config: Any
    layout: str
    """Names the configuration, so that states of another one are recognised."""

    @property
    def name(self) -> str:
        """The backend that computes the chunks."""
        return "torch"

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
        """Encode one chunk of features ``[B, 2 c, F]``.

        ``lengths`` are the encoder frames of each stream in it; frames after them are zero, in the
        features and in the result ``[B, c, C]``. The new state has moved on in
        ``processed_frames``, ``stem``, ``stacks`` and ``memory``.
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
        wait in the state. With ``is_final`` the rest is encoded as it is, and the streams end.
        Streams may be at different positions, and none can disturb another, whatever its features.

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
            state.pending, state.pending_lengths.tolist(), features, counts, is_final=ending
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
