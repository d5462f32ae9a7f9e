"""The streaming Zipformer encoder: six stacks in a U-Net, then the memory bank.

Symbols: ``B`` streams, ``T`` feature frames (100 Hz), ``c`` encoder frames of a chunk (50 Hz),
``N`` chunks in one call, ``C`` output channels.

There is one computation, :meth:`ZipformerEncoder.run`, from a state over any number of chunks.
``forward`` runs it over all chunks from the empty state; ``step`` runs it over one chunk after the
other. Sources: Zipformer (arXiv 2310.11230), Emformer's memory bank (arXiv 2010.10759).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from echostream.config import EncoderConfig, PerStack, check_chunking
from echostream.constants import CHUNK_MULTIPLE, DOWNSAMPLING, SUBSAMPLING
from echostream.encoder.checks import check_lengths, fingerprint_of, layout_of, zero_after
from echostream.encoder.chunk_masks import ChunkMasks, MaskSettings, cached_chunk_masks, chunk_masks
from echostream.encoder.memory_bank import MemoryBank
from echostream.encoder.protocol import EncoderOutput, Watched
from echostream.encoder.registry import register
from echostream.encoder.stack import Stack
from echostream.encoder.stem import Stem
from echostream.encoder.stepping import WHOLE_RECORDING, ChunkEncoder
from echostream.encoder.stream_state import StreamState
from echostream.errors import ConfigError


@register("zipformer")
class ZipformerEncoder(ChunkEncoder[StreamState], nn.Module):
    """Feature frames ``[B, T, 80]`` at 100 Hz to encoder frames ``[B, T // 2, C]`` at 50 Hz.

    The arguments are the fields of :class:`echostream.config.EncoderConfig`.
    """

    def __init__(
        self,
        input_dim: int = 80,
        embed_dim: PerStack = 512,
        num_heads: PerStack = 8,
        ffn_dim: PerStack = 2048,
        num_layers_per_stack: PerStack = 2,
        memory_size: int = 4,
        max_future_frames: int | None = 0,
        **more: Any,
    ) -> None:
        super().__init__()
        self.config = config = EncoderConfig(
            input_dim=input_dim,
            embed_dim=embed_dim,
            num_heads=num_heads,
            ffn_dim=ffn_dim,
            num_layers_per_stack=num_layers_per_stack,
            memory_size=memory_size,
            max_future_frames=max_future_frames,
            **more,
        )
        widths = config.widths
        self.stem = Stem(config.input_dim, config.stem_channels, widths[0])
        self.stacks = nn.ModuleList(Stack(config, index) for index in range(len(DOWNSAMPLING)))
        self.memory = (
            MemoryBank(
                config.output_dim,
                config.memory_size,
                config.memory_segment,
                config.memory_dim,
                max(config.heads),
            )
            if config.memory_size > 0
            else None
        )
        self.layout = layout_of(config)

    @classmethod
    def from_config(cls, config: EncoderConfig) -> ZipformerEncoder:
        """An encoder with random weights."""
        return cls(**config.options)

    def init_state(
        self,
        batch_size: int = 1,
        *,
        chunk_size: int | None = None,
        left_context: int | None = None,
        max_future_frames: int | None | str = "config",
    ) -> StreamState:
        """The state of streams that have heard nothing.

        Args:
            batch_size: ``B``, streams.
            chunk_size: encoder frames of a chunk, a multiple of 8; ``None`` for the config's.
            left_context: encoder frames of left context, a multiple of 8; ``None`` likewise.
            max_future_frames: look-ahead within the chunk, at each stack's own rate; ``None`` is
                the whole chunk, ``"config"`` the config's.
        """
        config = self.config
        chunk_size = config.chunk_size if chunk_size is None else chunk_size
        left_context = config.left_context if left_context is None else left_context
        future = config.max_future_frames if max_future_frames == "config" else max_future_frames
        if isinstance(future, str):
            raise ConfigError(
                f"max_future_frames is {future!r}; expected None, a number from 0 on, or 'config'"
            )
        check_chunking(chunk_size, left_context, future)
        like = self.stem.norm.bias
        counter = torch.zeros(batch_size, dtype=torch.int64)
        return StreamState(
            processed_frames=counter,
            segment_id=counter.clone(),
            finished=counter.bool(),
            pending=torch.zeros(
                batch_size,
                chunk_size * SUBSAMPLING,
                config.input_dim,
                dtype=like.dtype,
                device=like.device,
            ),
            pending_lengths=counter.clone(),
            stem=self.stem.init_state(batch_size),
            stacks=tuple(s.init_state(batch_size, left_context) for s in self.stacks),  # type: ignore[operator]
            memory=None if self.memory is None else self.memory.init_state(batch_size),
            chunk_size=chunk_size,
            left_context=left_context,
            max_future_frames=future,
            layout=self.layout,
        )

    def forward(
        self,
        features: Tensor,
        lengths: Tensor | None = None,
        *,
        chunk_size: int | None = None,
        left_context: int | None = None,
        max_future_frames: int | None | str = "config",
    ) -> EncoderOutput:
        """Encode whole recordings under the chunk mask.

        Args:
            features: ``[B, T, input_dim]``.
            lengths: ``[B]`` feature frames of each recording; ``None`` for all ``T``.
            chunk_size: as in :meth:`init_state`, or ``WHOLE_RECORDING``.
            left_context: as in :meth:`init_state`.
            max_future_frames: as in :meth:`init_state`.
        """
        self._check_features(features)
        batch, total, _ = features.shape
        frames = total // SUBSAMPLING
        if chunk_size == WHOLE_RECORDING:
            chunk_size = max(1, -(-frames // CHUNK_MULTIPLE)) * CHUNK_MULTIPLE
            # Left context counts back from each frame: this much reaches the first from the last.
            left_context = chunk_size
        state = self.init_state(
            batch,
            chunk_size=chunk_size,
            left_context=left_context,
            max_future_frames=max_future_frames,
        )
        num_chunks = max(1, -(-frames // state.chunk_size))
        missing = num_chunks * state.chunk_size * SUBSAMPLING - frames * SUBSAMPLING
        if lengths is None:
            out_lengths = torch.full((batch,), frames, device=features.device)
        else:
            check_lengths(features, lengths)
            features = zero_after(features, lengths)
            out_lengths = torch.div(lengths, SUBSAMPLING, rounding_mode="floor")
        features = functional.pad(features[:, : frames * SUBSAMPLING], (0, 0, 0, missing))
        masks = chunk_masks(
            state.processed_frames.to(features.device),
            out_lengths,
            num_chunks,
            self.settings(state),
            whole=lengths is None and missing == 0,
        )
        y, _ = self.run(features, masks, state)
        return {"encoder_out": y[:, :frames], "encoder_out_lengths": out_lengths}

    def run(
        self, features: Tensor, masks: ChunkMasks, state: StreamState
    ) -> tuple[Tensor, StreamState]:
        """Encode chunks of features ``[B, 2 c N, F]`` from ``state`` to ``[B, c N, C]``.

        Counters of the state stay as they are.
        """
        valid = None if masks.valid is None else masks.valid.to(features.dtype)
        x, stem = self.stem(features, state.stem)
        stacks, outputs = [], []
        for stack, stack_state in zip(self.stacks, state.stacks, strict=True):
            x, new_state = stack(x, valid, masks.frames, stack_state)
            stacks.append(new_state)
            outputs.append(x)
        y = _full_width(outputs)
        memory = state.memory
        if self.memory is not None and memory is not None and masks.memory is not None:
            y, memory = self.memory(y, valid, masks.memory, memory)
        if valid is not None:
            y = y * valid
        return y, dataclasses.replace(state, stem=stem, stacks=tuple(stacks), memory=memory)

    def _encode_chunk(
        self, features: Tensor, lengths: tuple[int, ...], state: StreamState
    ) -> tuple[Tensor, StreamState]:
        heard = state.processed_frames
        masks = cached_chunk_masks(heard.tolist(), lengths, self.settings(state), features.device)
        y, state = self.run(features, masks, state)
        return y, dataclasses.replace(state, processed_frames=heard + torch.tensor(lengths))

    def settings(self, state: StreamState) -> MaskSettings:
        """What the masks of this state's calls follow from."""
        return MaskSettings(
            chunk_size=state.chunk_size,
            left_context=state.left_context,
            max_future_frames=state.max_future_frames,
            memory_size=self.config.memory_size,
            memory_segment=self.config.memory_segment,
        )

    def watched_modules(self) -> dict[str, Watched]:
        """See :func:`echostream.encoder.protocol.watched_modules`."""
        watched = {"stem": Watched(self.stem)}
        for index, stack in enumerate(self.stacks):
            name, pooled = f"stacks.{index}", DOWNSAMPLING[index]
            if pooled > 1:
                watched[f"{name}.downsample"] = Watched(stack.downsample, pooled)  # type: ignore[arg-type]
            for number, layer in enumerate(stack.layers):  # type: ignore[arg-type]
                for part, module in layer.named_children():
                    watched[f"{name}.layers.{number}.{part}"] = Watched(module, pooled)
                watched[f"{name}.layers.{number}"] = Watched(layer, pooled)
            watched[name] = Watched(stack)  # Up-sampled again.
        if self.memory is not None:
            watched["memory"] = Watched(self.memory)
        return watched

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights, which features must have too."""
        return self.stem.norm.bias.dtype

    def fingerprint(self) -> str:
        """SHA-256 over configuration and weights: which encoder a saved state belongs to."""
        return fingerprint_of(self.layout, self)


def _full_width(outputs: list[Tensor]) -> Tensor:
    """The last stack's channels, and those it lacks from the latest stack that has them."""
    y = outputs[-1]
    for x in reversed(outputs[:-1]):
        if x.shape[2] > y.shape[2]:
            y = torch.cat((y, x[:, :, y.shape[2] :]), dim=2)
    return y
