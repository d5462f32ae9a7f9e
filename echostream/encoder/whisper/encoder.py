"""Whisper's encoder made streaming: chunk-causal attention, caches, windows that take turns.

Symbols: ``B`` recordings or streams, ``T`` encoder frames (50 Hz), ``c`` encoder frames of a chunk,
``r`` of its right context, ``F`` mel bins, ``C`` channels.

Source: Radford et al. 2022, arXiv 2212.04356. With the whole recording as one chunk this is
Whisper. In a stream a frame attends to all frames of its window up to the end of its own chunk, and
to the right context behind it, which is encoded with the chunk, thrown away, and encoded again with
its own (Emformer, Shi et al. 2020, arXiv 2010.10759).

Positions end after 30 s, so a stream is a row of windows. A window begins every ``window_stride``
frames. Its first ``window_overlap`` frames are encoded beside the window before and only fill the
caches; then it takes over. What is given out has the mean of its position in the window taken out
(``position_mean``), so that whoever reads it need not know where a window began.

Convolutions look back only: an encoder frame is Whisper's of audio that is 10 ms later, so a chunk
needs nothing after the audio of its frames and of its right context.
"""

import dataclasses
import math
from typing import Any

import torch
from torch import Tensor, nn

from echostream.config_whisper import WhisperEncoderConfig
from echostream.constants import SUBSAMPLING
from echostream.encoder.checks import check_lengths, fingerprint_of, layout_of, zero_after
from echostream.encoder.protocol import Capabilities, EncoderOutput, TrainingChunks
from echostream.encoder.registry import register
from echostream.encoder.stepping import WHOLE_RECORDING, ChunkEncoder
from echostream.encoder.whisper.chunk_mask import laid_out
from echostream.encoder.whisper.convolution import RowConvolution
from echostream.encoder.whisper.layer import Place, WhisperLayer
from echostream.encoder.whisper.state import LayerCache, WhisperState
from echostream.errors import ConfigError

HISTORY = 3
"""Feature frames before an encoder frame's own two that the convolutions reach."""

SILENCE = -0.75
"""Whisper's value of silence beside speech of usual loudness; it stands before the first frame."""


@register("whisper")
class WhisperEncoder(ChunkEncoder[WhisperState], nn.Module):
    """Feature frames ``[B, 2 T, F]`` to encoder frames ``[B, T, C]``.

    The arguments are the fields of :class:`echostream.config_whisper.WhisperEncoderConfig`.
    """

    capabilities = Capabilities(
        chunking=frozenset({"chunk_size", "right_context"}),
        batched=True,
        portable_state=True,
        int8=True,
        training=TrainingChunks(
            whole=WHOLE_RECORDING,
            chunk_sizes=(8, 16, 16, 32, 32, 32, 64, None),
            first_chunk_sizes=(32, 64),
            others={"right_context": (None, None, 0, 16, 32)},
        ),
    )

    positions: Tensor
    position_mean: Tensor

    def __init__(self, **fields: Any) -> None:
        super().__init__()
        self.config = config = WhisperEncoderConfig(**fields)
        width = config.embed_dim
        self.conv1 = RowConvolution(config.input_dim, width, 3)
        self.conv2 = RowConvolution(width, width, 3, 2)
        self.layers = nn.ModuleList(
            WhisperLayer(width, config.num_heads, config.ffn_dim) for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.register_buffer("positions", sinusoids(config.max_positions, width))
        self.register_buffer("position_mean", torch.zeros(config.max_positions, width))
        self.layout = layout_of(config)
        self._with(None, None)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights, which features must have too."""
        return self.norm.bias.dtype

    def fingerprint(self) -> str:
        """SHA-256 over configuration and weights: which encoder a saved state belongs to."""
        return fingerprint_of(self.layout, self)

    def in_int8(self) -> "WhisperEncoder":
        """With int8 weights in its linear layers; see :class:`Int8WhisperEncoder`."""
        # Here, as its class is a kind of this one.
        from echostream.encoder.whisper.int8 import Int8WhisperEncoder

        return Int8WhisperEncoder(self)

    def init_state(
        self,
        batch_size: int = 1,
        *,
        chunk_size: int | None = None,
        right_context: int | None = None,
    ) -> WhisperState:
        """The state of streams that have heard nothing.

        Args:
            batch_size: ``B``, streams.
            chunk_size: encoder frames of a chunk; ``None`` for the config's.
            right_context: encoder frames behind a chunk that its frames see; likewise.

        Raises:
            ConfigError: for a chunk that does not divide the windows, or a right context that
                reaches behind the positions.
        """
        config = self._with(chunk_size, right_context)
        chunk_size = config.chunk_size
        like = self.norm.bias.detach()
        counter = torch.zeros(batch_size, dtype=torch.int64)
        features = like.new_full((batch_size, HISTORY, config.input_dim), SILENCE)
        # Whisper pads with zeros before the first frame, which here is the silent one.
        features[:, :-1] = 0.0
        return WhisperState(
            processed_frames=counter,
            segment_id=counter.clone(),
            finished=counter.bool(),
            pending=like.new_zeros(
                batch_size, (chunk_size + config.right_context) * SUBSAMPLING, config.input_dim
            ),
            pending_lengths=counter.clone(),
            features=features,
            current=self._empty(
                batch_size, chunk_size, config.window_stride + config.window_overlap
            ),
            following=self._empty(batch_size, chunk_size, config.window_overlap),
            chunk_size=chunk_size,
            layout=self.layout,
        )

    def forward(
        self,
        features: Tensor,
        lengths: Tensor | None = None,
        *,
        chunk_size: int | None = None,
        right_context: int | None = None,
        first_position: int = 0,
    ) -> EncoderOutput:
        """Encode whole recordings.

        Args:
            features: ``[B, 2 T, F]``.
            lengths: ``[B]`` feature frames of each recording; ``None`` for all.
            chunk_size: as in :meth:`init_state`, or ``WHOLE_RECORDING`` to encode as Whisper does.
            right_context: as in :meth:`init_state`; nothing is behind a whole recording.
            first_position: where in a window the first frame stands, with nothing before it; a
                whole number of chunks. One chunk begins its window.

        Raises:
            ConfigError: for a recording longer than the positions, if it is one chunk, and for a
                first position that is none.
        """
        self._check_features(features)
        config = self.config
        batch, total = features.shape[0], features.shape[1] // SUBSAMPLING
        ends = None
        out_lengths = torch.full((batch,), total, device=features.device)
        if lengths is not None:
            check_lengths(features, lengths)
            out_lengths = torch.div(lengths, SUBSAMPLING, rounding_mode="floor")
            ends = out_lengths
            features = zero_after(features, lengths)
        reach = config.window_stride + config.window_overlap
        if chunk_size == WHOLE_RECORDING:
            reach = config.max_positions
            if total > reach:
                raise ConfigError(
                    f"a recording of {total} encoder frames was given as one chunk; expected at "
                    f"most {reach}, the positions that Whisper has: give a chunk size"
                )
            chunk_size = right_context = first_position = 0
        else:
            chosen = self._with(chunk_size, right_context)
            chunk_size, right_context = chosen.chunk_size, chosen.right_context
            if not 0 <= first_position < reach or first_position % chunk_size:
                raise ConfigError(
                    f"first_position is {first_position}; expected a multiple of the chunk, "
                    f"{chunk_size}, from 0 to {reach - chunk_size}"
                )
        if total == 0:
            nothing = features.new_zeros(batch, 0, config.embed_dim)
            return {"encoder_out": nothing, "encoder_out_lengths": out_lengths}
        history = self.init_state(batch).features
        x = self._stem(
            torch.cat((history, features[:, : total * SUBSAMPLING]), 1),
            torch.ones(batch, dtype=torch.bool),
        )
        outputs = [x[:, :0]]
        done = 0
        while done < total:
            start = max(0, done - config.window_overlap) if done else 0
            first = 0 if done else first_position
            end = min(total, start + reach - first)
            own = x[:, start : end + right_context]
            y = self._whole_window(own, start, first, chunk_size, right_context, ends)
            outputs.append(y[:, done - start : end - start])
            done = end
        y = torch.cat(outputs, 1)
        if ends is not None:
            y = zero_after(y, ends)
        return {"encoder_out": y, "encoder_out_lengths": out_lengths}

    def _whole_window(
        self,
        x: Tensor,
        start: int,
        first: int,
        chunk_size: int,
        right_context: int,
        ends: Tensor | None,
    ) -> Tensor:
        """Encode frames ``[B, n, C]`` of one window, from frame ``start`` of the recordings and
        position ``first`` of the window on; a ``chunk_size`` of 0 is all of it."""
        frames = x.shape[1]
        at, visible = torch.arange(frames, device=x.device), None
        if chunk_size:
            at, visible = laid_out(at, chunk_size, right_context)
        if ends is not None:
            # A frame after the end looks at itself, since a softmax over nothing is not a number.
            heard = (start + at < ends[:, None])[:, None, None, :]
            own = torch.eye(len(at), dtype=torch.bool, device=x.device)
            visible = (heard if visible is None else heard & visible) | own
        x = x[:, at] + self.positions[first + at]
        for layer in self.layers:
            x = layer(x, visible)
        normed: Tensor = self.norm(x[:, :frames])
        return normed - self.position_mean[first : first + frames]

    def _encode_chunk(
        self, features: Tensor, lengths: tuple[int, ...], state: WhisperState
    ) -> tuple[Tensor, WhisperState]:
        """See :meth:`ChunkEncoder._encode_chunk`."""
        config = self.config
        stride, overlap = config.window_stride, config.window_overlap
        chunk_size = state.chunk_size
        heard = state.processed_frames.tolist()
        queue = torch.cat((state.features, features), 1)
        x = self._stem(queue, state.processed_frames == 0)
        windows = [max(0, (frames - overlap) // stride) for frames in heard]
        places = [frames - window * stride for frames, window in zip(heard, windows, strict=True)]
        y, current = self._chunk_of_window(x, lengths, places, chunk_size, state.current)
        following = state.following
        beside = [row for row, place in enumerate(places) if place >= stride]
        if beside:
            rows = torch.tensor(beside, device=x.device)
            _, own = self._chunk_of_window(
                x[rows],
                tuple(lengths[row] for row in beside),
                [places[row] - stride for row in beside],
                chunk_size,
                tuple(cache.rows(rows) for cache in following),
            )
            following = _with_rows(following, rows, own)
            over = [row for row in beside if places[row] + chunk_size == stride + overlap]
            if over:
                rows = torch.tensor(over, device=x.device)
                begun = zip(
                    self._empty(len(over), chunk_size, stride),
                    (cache.rows(rows) for cache in following),
                    strict=True,
                )
                taking = tuple(
                    LayerCache(own.keys + rest.keys, own.values + rest.values)
                    for rest, own in begun
                )
                current = _with_rows(current, rows, taking)
        return y, state.replaced(
            processed_frames=state.processed_frames + torch.tensor(lengths).clamp(max=chunk_size),
            features=queue[:, chunk_size * SUBSAMPLING :][:, :HISTORY].clone(),
            current=current,
            following=following,
        )

    def _chunk_of_window(
        self,
        x: Tensor,
        lengths: tuple[int, ...],
        places: list[int],
        chunk_size: int,
        caches: tuple[LayerCache, ...],
    ) -> tuple[Tensor, tuple[LayerCache, ...]]:
        """Encode one chunk ``[B, c + r, C]`` that stands at ``places`` of each stream's window."""
        frames = x.shape[1]
        starts = torch.tensor(places, device=x.device)[:, None]
        positions = starts + torch.arange(frames, device=x.device)
        ends = torch.tensor(lengths, device=x.device)[:, None]
        reach = max(places)
        mask = x.new_zeros(len(places), 1, frames, reach + frames)
        if min(places) + min(lengths) < reach + frames:
            before = torch.arange(reach, device=x.device) >= starts
            # Streams that are idle look at one frame, since a softmax over nothing is no number.
            own = torch.arange(frames, device=x.device) >= ends.clamp(min=1)
            mask.masked_fill_(torch.cat((before, own), 1)[:, None, None], -math.inf)
        place = Place(tuple(each // chunk_size for each in places), mask, chunk_size)
        x = x + self.positions[positions]
        after = []
        for layer, cache in zip(self.layers, caches, strict=True):
            x, new = layer.step(x, cache, place)  # type: ignore[operator]
            after.append(new)
        y = self.norm(x[:, :chunk_size]) - self.position_mean[positions[:, :chunk_size]]
        if min(lengths) < chunk_size:
            y = zero_after(y, ends[:, 0])
        return y, tuple(after)

    def _stem(self, features: Tensor, at_start: Tensor) -> Tensor:
        """The convolutions of ``[B, 3 + 2 T, F]`` to ``[B, T, C]``; ``at_start`` [B] bool."""
        x = self.conv1(features)
        if bool(at_start.any()):
            # Before the first frame Whisper's second convolution sees zeros.
            keep = (~at_start).to(x)[:, None, None]
            x = torch.cat((x[:, :1] * keep, x[:, 1:]), 1)
        y: Tensor = self.conv2(x)
        return y

    def _empty(self, batch_size: int, chunk_size: int, frames: int) -> tuple[LayerCache, ...]:
        """Caches of so many frames for each layer."""
        block = self.norm.bias.new_zeros(batch_size, chunk_size, self.config.embed_dim)
        # They may be the same, since nobody writes into one.
        blocks = (block.detach(),) * (frames // chunk_size)
        return tuple(LayerCache(blocks, blocks) for _ in self.layers)

    def _with(self, chunk_size: int | None, right_context: int | None) -> WhisperEncoderConfig:
        """The configuration with another chunk and right context, unless they are ``None``.

        Raises:
            ConfigError: if they do not fit the windows.
        """
        given = {"chunk_size": chunk_size, "right_context": right_context}
        changes: dict[str, Any] = {name: each for name, each in given.items() if each is not None}
        config = dataclasses.replace(self.config, **changes)
        if config.window_stride % config.chunk_size or config.window_overlap % config.chunk_size:
            raise ConfigError(
                f"chunk_size is {config.chunk_size} encoder frames; expected one that divides the "
                f"windows of {config.window_stride} frames that overlap by {config.window_overlap}"
            )
        return config


def sinusoids(length: int, channels: int) -> Tensor:
    """Whisper's encoder positions ``[length, channels]``: sines, then cosines."""
    half = channels // 2
    rates = torch.exp(-math.log(10_000) / max(1, half - 1) * torch.arange(half))
    angles = torch.arange(length)[:, None] * rates
    return torch.cat((angles.sin(), angles.cos()), dim=1)


def _with_rows(
    caches: tuple[LayerCache, ...], rows: Tensor, own: tuple[LayerCache, ...]
) -> tuple[LayerCache, ...]:
    return tuple(cache.with_rows(rows, other) for cache, other in zip(caches, own, strict=True))
