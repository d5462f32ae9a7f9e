"""Segments of any size in, encoder frames of whole chunks out.

Symbols: ``B`` streams, ``T`` feature frames (100 Hz), ``c`` encoder frames of a chunk (50 Hz),
``C`` output channels, ``F`` mel bins.

What is the same for every way to compute a chunk stands here: the model itself in torch, and the
compiled forms of it in :mod:`echostream.backend`. A chunk is always computed alone, so how the
audio was cut changes nothing, to the bit.
"""

from __future__ import annotations

import abc
import dataclasses

import torch
from torch import Tensor

from echostream.config import EncoderConfig
from echostream.constants import CHUNK_MULTIPLE, ENCODER_FRAME_MS
from echostream.encoder.chunk_queue import cut_segment
from echostream.encoder.stream_state import StreamState
from echostream.errors import StateMismatchError, StreamClosedError


class ChunkEncoder(abc.ABC):
    """Encodes streams segment by segment, given a way to encode one chunk."""

    frame_ms = ENCODER_FRAME_MS
    """Length of an encoder frame."""
    chunk_multiple = CHUNK_MULTIPLE
    """A chunk is a multiple of this many encoder frames."""

    config: EncoderConfig
    layout: str
    """Names the configuration, so that states of another one are recognised."""

    @property
    @abc.abstractmethod
    def dtype(self) -> torch.dtype:
        """Of features and encoder frames."""

    @abc.abstractmethod
    def _encode_chunk(
        self, features: Tensor, lengths: tuple[int, ...], state: StreamState
    ) -> tuple[Tensor, StreamState]:
        """Encode one chunk of features ``[B, 2 c, F]``.

        ``lengths`` are the encoder frames of each stream in it; frames after them are zero, in the
        features and in the result ``[B, c, C]``. The new state has moved on in
        ``processed_frames``, ``stem``, ``stacks`` and ``memory``.
        """

    @torch.no_grad()
    def step(
        self,
        features: Tensor,
        state: StreamState,
        lengths: Tensor | None = None,
        *,
        is_final: bool = False,
    ) -> tuple[Tensor, Tensor, StreamState]:
        """Encode the next segment of each stream.

        Whole chunks are encoded one after the other; the feature frames that do not fill a chunk
        wait in the state. With ``is_final`` the rest is encoded as it is, and the streams end.

        Args:
            features: ``[B, T, input_dim]`` new feature frames; ``T`` may be 0.
            state: from :meth:`init_state` or the step before; it is not changed.
            lengths: ``[B]`` new frames of each stream; ``None`` for all ``T``.
            is_final: whether this is the end of every recording of the batch.

        Returns:
            ``[B, n, C]`` encoder frames, ``[B]`` how many of them are each stream's, new state.

        Raises:
            StreamClosedError: if a stream gets features after its end.
            StateMismatchError: if the state is for another batch size.
        """
        self._check_features(features)
        batch, new, _ = features.shape
        counts = [new] * batch if lengths is None else self._check_lengths(features, lengths)
        self._check_state(state, counts)
        cut = cut_segment(
            state.pending, state.pending_lengths.tolist(), features, counts, is_final=is_final
        )
        outputs = []
        for chunk, here in zip(cut.chunks, cut.lengths, strict=True):
            y, after = self._encode_chunk(chunk, here, state)
            if not all(here):
                # Streams with nothing in this chunk stay as they were.
                active = torch.tensor(here, device=features.device) > 0
                after = after.select(active, state)
            state = after
            outputs.append(y)
        state = dataclasses.replace(
            state,
            pending=cut.pending,
            pending_lengths=torch.tensor(cut.pending_lengths, device=features.device),
            segment_id=state.segment_id + 1,
            finished=torch.ones_like(state.finished) if is_final else state.finished,
        )
        if outputs:
            joined = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)
            joined = joined[:, : max(cut.totals)]
        else:
            joined = features.new_zeros(batch, 0, self.config.output_dim)
        return joined, torch.tensor(cut.totals, device=features.device), state

    def _check_features(self, features: Tensor) -> None:
        if features.dim() != 3 or features.shape[2] != self.config.input_dim:
            raise StateMismatchError(
                f"features have shape {tuple(features.shape)}; expected "
                f"[batch, frames, {self.config.input_dim}]"
            )
        if features.dtype != self.dtype:
            raise StateMismatchError(
                f"features are {features.dtype} but the encoder is {self.dtype}; convert one "
                "with .to(dtype)"
            )

    def _check_lengths(self, features: Tensor, lengths: Tensor) -> list[int]:
        batch, total, _ = features.shape
        counts: list[int] = lengths.tolist()
        if lengths.shape != (batch,) or not all(0 <= count <= total for count in counts):
            raise StateMismatchError(
                f"lengths are {counts} for features of shape {tuple(features.shape)}; "
                f"expected {batch} numbers from 0 to {total}"
            )
        return counts

    def _check_state(self, state: StreamState, counts: list[int]) -> None:
        if state.layout != self.layout:
            raise StateMismatchError(
                f"the state was made by an encoder of another configuration ({state.layout}); "
                f"expected {self.layout}: use this encoder's init_state()"
            )
        if state.batch_size != len(counts):
            raise StateMismatchError(
                f"the state is for {state.batch_size} streams but the features are for "
                f"{len(counts)}; use init_state(batch_size) or StreamState.stack()"
            )
        finished = state.finished.tolist()
        if any(end and count > 0 for end, count in zip(finished, counts, strict=True)):
            raise StreamClosedError(
                f"{max(counts)} feature frames were pushed into a finished stream; start a new one "
                "with init_state()"
            )
