"""The encoder of StreamSpeech: a chunk-based Conformer, as published and with an exact cache.

Symbols: ``B`` recordings or streams, ``T`` feature frames (100 Hz), ``s`` feature frames per
encoder frame (4 as published), ``T' = ceil(T / s)`` encoder frames, ``c`` encoder frames of a
chunk, ``F`` mel bins, ``C`` channels.

Source: Zhang et al., "StreamSpeech: Simultaneous Speech-to-Speech Translation with Multi-task
Learning", ACL 2024, section 3.1, and what its published code computes. This is the system that
EchoStream is compared with, so it keeps the published behaviour in every chunk setting, also where
that is odd; where a batch would make a difference, each recording gets what it gets alone.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from torch import Tensor, nn

from echostream.baseline.attention import Dropout, hidden_keys
from echostream.baseline.convolution import (
    WHOLE_RECORDING,
    Subsampler,
    check_streamable,
    conv_chunk_of,
    valid_mask,
)
from echostream.baseline.layer import ChunkConformerState, ConformerCache, ConformerLayer
from echostream.config import CONFORMER_MODES, ChunkConformerConfig
from echostream.constants import FRAME_SHIFT_MS
from echostream.encoder.checks import (
    check_features,
    check_lengths,
    check_state,
    layout_of,
    zero_after,
)
from echostream.encoder.linear import Linear
from echostream.encoder.protocol import Capabilities, EncoderOutput, TrainingChunks, Watched
from echostream.encoder.registry import register
from echostream.errors import ConfigError, StateMismatchError

BRANCH_SCALE = 0.1
"""To shrink the branches of random weights by before training: with PyTorch's own the encoder takes
far longer to find where in the audio its units are."""


@register("chunk-conformer")
class ChunkConformerEncoder(nn.Module):
    """Feature frames ``[B, T, F]`` at 100 Hz to encoder frames ``[B, ceil(T / s), C]``.

    The arguments are the fields of :class:`echostream.config.ChunkConformerConfig`. The state dict
    has the names and shapes of ``encoder.*`` in a published checkpoint.
    """

    chunk_multiple = 2
    capabilities = Capabilities(
        chunking=frozenset({"chunk_size", "mode"}),
        modes=CONFORMER_MODES,
        training=TrainingChunks(
            whole=WHOLE_RECORDING,
            # With frames of 40 ms the same as the Zipformer's in milliseconds.
            chunk_sizes=(4, 8, 8, 8, 16, 16, 32, None),
            first_chunk_sizes=(32, None),
            # As published: a chunk of its own, never more than the attention's.
            others={"conv_chunk_size": (8, 16)},
            within_chunk=frozenset({"conv_chunk_size"}),
        ),
    )

    def __init__(self, **fields: Any) -> None:
        super().__init__()
        self.config = config = ChunkConformerConfig(**fields)
        width, dropout = config.embed_dim, config.dropout
        self.frame_ms = FRAME_SHIFT_MS * config.subsampling
        self.subsample = Subsampler(
            config.input_dim, config.conv_channels, width, config.subsampling
        )
        self.linear = Linear(width, width)
        self.dropout = Dropout(dropout)
        self.conformer_layers = nn.ModuleList(
            ConformerLayer(width, config.ffn_dim, config.num_heads, config.conv_kernel, dropout)
            for _ in range(config.num_layers)
        )
        self.layout = layout_of(config)

    @classmethod
    def from_config(cls, config: ChunkConformerConfig) -> ChunkConformerEncoder:
        """An encoder with random weights."""
        return cls(**config.options)

    def shrink_branches(self, factor: float) -> None:
        """See :meth:`echostream.baseline.layer.ConformerLayer.shrink_branches`."""
        for layer in self.conformer_layers:
            layer.shrink_branches(factor)  # type: ignore[operator]

    def watched_modules(self) -> dict[str, Watched]:
        """See :func:`echostream.encoder.protocol.watched_modules`."""
        watched = {"subsample": Watched(self.subsample), "linear": Watched(self.linear)}
        for number, layer in enumerate(self.conformer_layers):
            name = f"conformer_layers.{number}"
            for part in ("ffn1", "self_attn", "conv_module", "ffn2", "final_layer_norm"):
                watched[f"{name}.{part}"] = Watched(getattr(layer, part))
            watched[name] = Watched(layer)
        return watched

    @property
    def input_dim(self) -> int:
        """Mel bins ``F``."""
        return self.config.input_dim

    @property
    def output_dim(self) -> int:
        """Channels ``C`` of the encoder output."""
        return self.config.output_dim

    def init_state(
        self,
        batch_size: int = 1,
        *,
        chunk_size: int | None = None,
        mode: str | None = None,
        conv_chunk_size: int | None = None,
    ) -> ChunkConformerState:
        """The state of streams that have heard nothing.

        Args:
            batch_size: ``B``, streams.
            chunk_size: encoder frames of a chunk; ``None`` for the config's.
            mode: ``cached`` keeps keys, values and convolution inputs and encodes each frame once;
                ``recompute`` keeps the features and encodes from the first one each time, as
                published. Their outputs are the same. ``None`` for the config's.
            conv_chunk_size: frames of a convolution window; ``None`` for ``min(chunk_size, 16)``.

        Raises:
            ConfigError: for a mode that does not exist, and for chunk sizes with which complete
                chunks would still change or audio would go unheard.
        """
        config = self.config
        chunk_size = config.chunk_size if chunk_size is None else chunk_size
        mode = config.mode if mode is None else mode
        if mode not in CONFORMER_MODES:
            raise ConfigError(f"mode is {mode!r}; expected one of {', '.join(CONFORMER_MODES)}")
        if conv_chunk_size is None:
            conv_chunk_size = conv_chunk_of(chunk_size)
        check_streamable(chunk_size, conv_chunk_size)
        with torch.no_grad():
            nothing = self.linear.bias.new_zeros(batch_size, 0, config.input_dim)
        counter = torch.zeros(batch_size, dtype=torch.int64)
        return ChunkConformerState(
            processed_frames=counter,
            segment_id=counter.clone(),
            finished=counter.bool(),
            pending=nothing,
            pending_lengths=counter.clone(),
            heard=nothing.clone(),
            cache=self._empty_cache(batch_size) if mode == "cached" else None,
            chunk_size=chunk_size,
            conv_chunk_size=conv_chunk_size,
            mode=mode,
            layout=self.layout,
        )

    def forward(
        self,
        features: Tensor,
        lengths: Tensor | None = None,
        chunk_size: int | None = None,
        conv_chunk_size: int | None = None,
    ) -> EncoderOutput:
        """Encode whole recordings as the published code does at inference.

        Args:
            features: ``[B, T, input_dim]``.
            lengths: ``[B]`` feature frames of each recording; ``None`` for all ``T``.
            chunk_size: encoder frames of an attention chunk; below 1 it is 1, and
                ``WHOLE_RECORDING`` or any number from ``T'`` on is the whole recording. ``None``
                for the config's.
            conv_chunk_size: frames of a convolution window; below 1 and from 999 on it is the
                whole recording. ``None`` for ``min(chunk_size, 16)``, as the published S2TT and
                ASR agents set it; the S2ST agent has 16 from chunk 16 on, else 8.
        """
        check_features(features, self.input_dim, self.linear.bias.dtype)
        ends = None
        if lengths is None:
            lengths = torch.full(features.shape[:1], features.shape[1], device=features.device)
        elif any(count < features.shape[1] for count in check_lengths(features, lengths)):
            ends = lengths
        chunk_size = self.config.chunk_size if chunk_size is None else chunk_size
        if conv_chunk_size is None:
            conv_chunk_size = conv_chunk_of(chunk_size)
        out_lengths = self.subsample.frames_of(lengths)
        batch, total, _ = features.shape
        if total == 0:
            nothing = features.new_zeros(batch, 0, self.output_dim)
            return {"encoder_out": nothing, "encoder_out_lengths": out_lengths}
        if ends is not None:
            features = zero_after(features, ends)
        cache = self._empty_cache(batch)
        y, _ = self._run(features, chunk_size, conv_chunk_size, cache, ends)
        return {"encoder_out": y, "encoder_out_lengths": out_lengths}

    @torch.no_grad()
    def step(
        self,
        features: Tensor,
        state: ChunkConformerState,
        lengths: Tensor | None = None,
        *,
        is_final: bool = False,
    ) -> tuple[Tensor, Tensor, ChunkConformerState]:
        """Encode the next segment of each stream; the encoder is in evaluation mode.

        Only whole chunks of ``s c`` feature frames are encoded, the rest waits in the state. (The
        published agents also encode the rest and revise it later.) With ``is_final`` the rest is
        encoded as it is, and the streams end.

        Args:
            features: ``[B, T, input_dim]`` new feature frames; ``T`` may be 0.
            state: from :meth:`init_state` or the step before; it is not changed.
            lengths: ``[B]`` new frames of each stream, which must be the same for all: the streams
                of a batch advance together. ``None`` for all ``T``.
            is_final: whether this is the end of every recording of the batch.

        Returns:
            ``[B, n, C]`` encoder frames, ``[B]`` how many of them are each stream's, new state.

        Raises:
            StreamClosedError: if a stream gets features after its end.
            StateMismatchError: if the state is of another encoder or batch size, or ``lengths``
                differ.
        """
        features = self._check_step(features, state, lengths)
        batch = features.shape[0]
        queue = torch.cat((state.pending, features), dim=1)
        window = state.chunk_size * self.config.subsampling
        usable = queue.shape[1] if is_final else queue.shape[1] // window * window
        cache, heard = state.cache, state.heard
        outputs = [features.new_zeros(batch, 0, self.output_dim)]
        if cache is not None:
            # A chunk at a time, so that how the features were cut never changes a bit.
            for chunk in queue[:, :usable].split(window, dim=1) if usable else ():
                y, cache = self._run(chunk, state.chunk_size, state.conv_chunk_size, cache)
                outputs.append(y)
        elif usable:
            heard = torch.cat((heard, queue[:, :usable]), dim=1)
            whole = self(heard, chunk_size=state.chunk_size, conv_chunk_size=state.conv_chunk_size)
            # Whole chunks so far, so this is where they ended.
            outputs.append(
                whole["encoder_out"][:, state.heard.shape[1] // self.config.subsampling :]
            )
        y = torch.cat(outputs, dim=1)
        y_lengths = torch.full_like(state.processed_frames, y.shape[1])
        pending = queue[:, usable:].clone()
        return (
            y,
            y_lengths,
            dataclasses.replace(
                state,
                processed_frames=state.processed_frames + y_lengths,
                segment_id=state.segment_id + 1,
                finished=state.finished | is_final,
                pending=pending,
                pending_lengths=torch.full_like(state.pending_lengths, pending.shape[1]),
                heard=heard,
                cache=cache,
            ),
        )

    def _empty_cache(self, batch_size: int) -> ConformerCache:
        with torch.no_grad():
            return ConformerCache(
                subsampler=self.subsample.init_past(batch_size),
                layers=tuple(layer.init_state(batch_size) for layer in self.conformer_layers),  # type: ignore[operator]
            )

    def _run(
        self,
        features: Tensor,
        chunk_size: int,
        conv_chunk_size: int,
        cache: ConformerCache,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, ConformerCache]:
        """Encode ``[B, T, F]`` features, ``T >= 1``, that follow what ``cache`` has seen.

        ``lengths`` [B] are given if some recordings end before ``T``.
        """
        x, subsampler = self.subsample(features, conv_chunk_size, cache.subsampler, lengths)
        x = self.dropout(self.linear(math.sqrt(self.output_dim) * x))
        frames = x.shape[1]
        ends = present = None
        if lengths is not None:
            ends = self.subsample.frames_of(lengths)
            present = valid_mask(ends, frames, x.dtype)
        past = cache.layers[0].keys.shape[2]
        hidden = hidden_keys(past, frames, chunk_size, ends, x.device)
        layers = []
        for layer, state in zip(self.conformer_layers, cache.layers, strict=True):
            x, state = layer(x, hidden, present, conv_chunk_size, state)
            layers.append(state)
        if present is not None:
            x = x * present.unsqueeze(2)
        return x, ConformerCache(subsampler, tuple(layers))

    def _check_step(
        self, features: Tensor, state: ChunkConformerState, lengths: Tensor | None
    ) -> Tensor:
        """The new frames of all streams, after a check of what :meth:`step` was given."""
        check_features(features, self.input_dim, self.linear.bias.dtype)
        batch, total, _ = features.shape
        counts = [total] * batch if lengths is None else check_lengths(features, lengths)
        check_state(state, self.layout, counts)
        if len(set(counts)) > 1:
            raise StateMismatchError(
                f"the streams of the batch have {counts} new feature frames; expected as many for "
                "each, since the chunk-Conformer's streams advance together: step streams of "
                "different lengths one by one"
            )
        return features[:, : counts[0]] if counts else features
