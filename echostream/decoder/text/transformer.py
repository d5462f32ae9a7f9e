"""An autoregressive transformer decoder with kept keys and values.

Symbols: ``B`` streams, ``n`` tokens of a call, ``m`` tokens before them, ``T`` encoder frames,
``E`` channels of the encoder, ``C`` of the decoder (the same without ``source_dim``), ``H``
attention heads, ``d = C / H``, ``L`` layers, ``A`` alignment heads, ``V`` vocabulary, ``R`` rows of
silence.

Pre-norm, a table of positions of tokens, output weights tied to the embedding: the decoders of
Whisper (Radford et al. 2022, arXiv 2212.04356) and of fairseq (Ott et al. 2019, arXiv 1904.01038),
which is StreamSpeech's, are two configurations of it. fairseq's keys have a bias, which adds the
same to all scores of a query and changes no weight.

After the frames that were heard the decoder looks at silence, since it was trained on recordings
that silence fills up to ``max_source`` frames, and without it repeats itself: rows of ``silence``,
one for every :data:`SILENCE_STRIDE` frames, which count for as many. They are the encoder's output
for silence, so nothing is encoded for them.

Encoder frames have no positions of their own here. A frame's key and value are made once, when it
comes. Where the decoder was trained with positions of the source, what they add to keys and values
is added to the kept ones: projections are linear, so frames that move to another position cost an
addition.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from echostream.config_whisper import TextDecoderConfig
from echostream.encoder.linear import Linear
from echostream.kernel import kernel_for

SILENCE_STRIDE = 10
"""Frames that a row of silence counts for."""


class Decoded(NamedTuple):
    """What a call gives."""

    output: Tensor
    """``[n, C]`` of the tokens, for :meth:`TransformerDecoder.logits`."""
    attention: Tensor
    """``[A, n, T + any]`` weights with which the alignment heads looked at the frames and then at
    rows of silence."""
    own: Tensor
    """``[L, 2, H, n, d]`` keys and values of the tokens."""


class DecoderLayer(nn.Module):
    """Self-attention, attention to the source, feed-forward; each on its normalised input."""

    def __init__(self, config: TextDecoderConfig) -> None:
        super().__init__()
        dim, self.num_heads = config.embed_dim, config.num_heads
        self.self_norm = nn.LayerNorm(dim)
        self.self_query = Linear(dim, dim)
        self.self_key = Linear(dim, dim, bias=False)
        self.self_value = Linear(dim, dim)
        self.self_out = Linear(dim, dim)
        self.cross_norm = nn.LayerNorm(dim)
        self.cross_query = Linear(dim, dim)
        self.cross_key = Linear(dim, dim, bias=False)
        self.cross_value = Linear(dim, dim)
        self.cross_out = Linear(dim, dim)
        self.ffn_norm = nn.LayerNorm(dim)
        self.ffn_in = Linear(dim, config.ffn_dim, gelu_epilogue=config.activation == "gelu")
        self.relu = config.activation == "relu"
        self.ffn_out = Linear(config.ffn_dim, dim)

    def source(self, frames: Tensor) -> Tensor:
        """``[..., T, C] -> [2, ..., H, T, d]`` keys and values of frames."""
        return torch.stack(
            (self._split(self.cross_key(frames)), self._split(self.cross_value(frames)))
        )

    def position_rows(self, positions: Tensor) -> Tensor:
        """``[P, C] -> [2, H, P, d]`` what positions of the source add to keys and values."""
        return self.source(positions) - self.source(torch.zeros_like(positions[:1]))

    def forward(
        self,
        x: Tensor,
        past: Sequence[Tensor],
        source: Sequence[Tensor],
        causal: Tensor | None,
        views: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """``x`` [..., n, C] after the layer, weights on the source [..., H, n, T], and what is kept
        of the tokens, [2, ..., H, n, d].

        ``past`` and ``source`` are parts of this layer, ``[2, ..., H, any, d]``.
        """
        query, own = self._projected(self.self_norm(x))
        mixed, _ = _attend(query, (*past, own), causal, self.num_heads)
        x = self.self_out.added_to(x, mixed)
        query = self.cross_query(self.cross_norm(x))
        mixed, weights = _attend(query, source, views, self.num_heads)
        x = self.cross_out.added_to(x, mixed)
        y = self.ffn_in(self.ffn_norm(x))
        y = y.relu() if self.relu else y
        return self.ffn_out.added_to(x, y), weights, own

    def _projected(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Queries ``[..., n, C]``, and keys and values ``[2, ..., H, n, d]`` of tokens."""
        own = torch.stack((self._split(self.self_key(y)), self._split(self.self_value(y))))
        return self.self_query(y), own

    def _split(self, x: Tensor) -> Tensor:
        """``[..., n, C] -> [..., H, n, d]``."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(-2, -3).contiguous()


class TransformerDecoder(nn.Module):
    """The decoder's weights and its pure steps; it holds no stream.

    Args:
        config: sizes, and the heads whose attention follows the audio; without any, all heads of
            the upper half of the layers are taken for it, as Whisper does.
    """

    source_positions: Tensor
    silence: Tensor

    def __init__(self, config: TextDecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.embed_dim)
        nn.init.normal_(self.embedding.weight, std=config.embed_dim**-0.5)
        self.positions = nn.Parameter(0.01 * torch.randn(config.max_tokens, config.embed_dim))
        self.register_buffer("source_positions", torch.zeros(config.max_source, config.embed_dim))
        rows = -(-config.max_source // SILENCE_STRIDE)
        self.register_buffer("silence", torch.zeros(rows, config.embed_dim))
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_layers))
        if config.source_dim:
            self.source_map = Linear(config.source_dim, config.embed_dim)
        if config.voice_activity:
            self.voice_activity = nn.Linear(config.embed_dim, 1)
        self.norm = nn.LayerNorm(config.embed_dim)
        self._alignment = _by_layer(config)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.positions.device

    def source(self, frames: Tensor) -> Tensor:
        """``[T, E] -> [L, 2, H, T, d]`` keys and values of encoder frames, without positions."""
        return self._source(self.mapped(frames))

    def mapped(self, frames: Tensor) -> Tensor:
        """``[..., T, E] -> [..., T, C]`` frames of an encoder with other channels."""
        return self.source_map(frames) if self.config.source_dim else frames

    def has_speech(self, frames: Tensor) -> list[bool]:
        """Whether somebody speaks in each of the encoder frames ``[T, E]``; yes without a head."""
        if not self.config.voice_activity:
            return [True] * len(frames)
        found: list[bool] = (self.voice_activity(self.mapped(frames))[:, 0] > 0).tolist()
        return found

    def _source(self, frames: Tensor) -> Tensor:
        """``[T, C] -> [L, 2, H, T, d]``."""
        return torch.stack([layer.source(frames) for layer in self._layers()])

    def source_position_rows(self) -> Tensor | None:
        """``[L, 2, H, max_source, d]`` to add to :meth:`source`; ``None`` if it is all zero."""
        if not self.source_positions.any():
            return None
        return torch.stack([each.position_rows(self.source_positions) for each in self._layers()])

    def silence_rows(self) -> Tensor:
        """``[L, 2, H, R, d]`` keys and values of silence, at its positions; ``R`` is 0 for a
        decoder that has none."""
        return self._source(self._placed_silence())

    def _placed_silence(self) -> Tensor:
        """``[R, C]``."""
        if not self.silence.any():
            return self.silence[:0]
        return self.silence + self.source_positions[::SILENCE_STRIDE]

    def no_past(self) -> Tensor:
        """``[L, 2, H, 0, d]``."""
        config = self.config
        size = config.embed_dim // config.num_heads
        return self.positions.new_zeros(config.num_layers, 2, config.num_heads, 0, size)

    def step(
        self,
        tokens: Tensor,
        past: Sequence[Tensor],
        source: Sequence[Tensor],
        silence: Tensor,
        views: Tensor | None = None,
        branches: Tensor | None = None,
    ) -> Decoded:
        """Take more tokens of one stream.

        Args:
            tokens: ``[n]`` ids, at least one.
            past: ``[L, 2, H, any, d]`` :attr:`Decoded.own` of all tokens before, in parts.
            source: ``[L, 2, H, any, d]`` of at least one frame, in parts.
            silence: :meth:`silence_rows`.
            views: ``[n]`` frames that each token looks at, at least one; all without it.
            branches: ``[n, m + n]`` to add to scores of tokens: 0 or minus infinity. With it the
                tokens do not follow each other: each is the last one of a text of its own, those
                that it sees.

        Raises:
            ValueError: if the positions of the tokens end before them.
        """
        before = sum(part.shape[3] for part in past)
        count, frames = len(tokens), sum(part.shape[3] for part in source)
        places, causal = torch.arange(before, before + count), branches
        if causal is None:
            causal = _barred_above(places + 1, before + count)
        else:
            places = (causal == 0).sum(dim=1) - 1
        if int(places.max()) >= self.config.max_tokens:
            raise ValueError(
                f"tokens {int(places.min())} to {int(places.max()) + 1} do not fit; expected at "
                f"most {self.config.max_tokens}, the positions of the decoder"
            )
        if views is None:
            silence = silence[..., -(-frames // SILENCE_STRIDE) :, :]
        mask = _source_mask(views, frames, silence.shape[3], self.device)
        parts = (*source, silence) if silence.shape[3] else source
        x = self._embedded(tokens, places.to(self.device))
        attention, own = [], []
        for index, layer in enumerate(self._layers()):
            x, weights, kept = layer(
                x,
                [part[index] for part in past],
                [part[index] for part in parts],
                None if count == 1 and branches is None else causal.to(self.device),
                mask,
            )
            own.append(kept)
            if index in self._alignment:
                attention.append(weights[self._alignment[index]])
        return Decoded(self.norm(x), torch.cat(attention), torch.stack(own))

    def logits(self, output: Tensor) -> Tensor:
        """``[..., C] -> [..., V]``."""
        weight = self.embedding.weight
        if output.dim() == 2:
            # The other way round the product would first move all of the vocabulary.
            return (weight @ output.T).T.contiguous()
        return functional.linear(output, weight)

    def forward(self, tokens: Tensor, frames: Tensor, views: Tensor) -> Tensor:
        """All tokens at once, for training: logits ``[B, n, V]`` of what follows each.

        Args:
            tokens: ``[B, n]``.
            frames: ``[B, T, E]`` of the encoder; the first one is at the first position.
            views: ``[B, n]`` frames that each token looks at, at least one.
        """
        count, length = tokens.shape[1], frames.shape[1]
        causal = _barred_above(torch.arange(1, count + 1), count).to(tokens.device)
        silence = self._placed_silence().expand(len(frames), -1, -1)
        mask = _source_mask(views, length, silence.shape[1], tokens.device)
        mask = None if mask is None else mask[:, None]
        placed = self.mapped(frames) + self.source_positions[:length]
        frames = torch.cat((placed, silence), dim=1)
        x = self._embedded(tokens, torch.arange(count, device=tokens.device))
        for layer in self._layers():
            x, _, _ = layer(x, (), (layer.source(frames),), causal, mask)
        return self.logits(self.norm(x))

    def _embedded(self, tokens: Tensor, places: Tensor) -> Tensor:
        """``[..., n] -> [..., n, C]`` of tokens at ``places`` [n]."""
        return self.config.embed_scale * self.embedding(tokens) + self.positions[places]

    def _layers(self) -> list[DecoderLayer]:
        return list(self.layers)  # type: ignore[arg-type]


def _attend(
    queries: Tensor, parts: Sequence[Tensor], mask: Tensor | None, heads: int
) -> tuple[Tensor, Tensor]:
    """Means of values ``[..., n, C]`` and their weights ``[..., H, n, width]``.

    ``queries`` are ``[..., n, C]``, ``parts`` of keys and values ``[2, ..., H, any, d]``.
    """
    kernel = kernel_for(queries) if queries.dim() == 2 else None
    if kernel is not None:
        added = queries.new_zeros(0, 0) if mask is None else mask.view(-1, mask.shape[-1])
        weights = kernel.cached_weights(queries, parts, added, heads)
        return kernel.cached_mix(weights, parts), weights
    queries = queries.unflatten(-1, (heads, -1)).transpose(-2, -3)
    queries = queries * (1 / math.sqrt(queries.shape[-1]))
    scores = torch.cat([queries @ keys.transpose(-1, -2) for keys, _ in parts], dim=-1)
    weights = (scores if mask is None else scores + mask).softmax(dim=-1)
    widths = [part.shape[-2] for part in parts]
    pairs = zip(weights.split(widths, dim=-1), parts, strict=True)
    mixed = sum((own @ values for own, (_, values) in pairs), start=torch.zeros_like(queries))
    return mixed.transpose(-2, -3).flatten(-2), weights


def _barred_above(limits: Tensor, width: int) -> Tensor:
    """``[..., width]``: 0 below each limit, minus infinity from it on."""
    barred = torch.arange(width, device=limits.device) >= limits[..., None]
    return torch.zeros(barred.shape, device=limits.device).masked_fill_(barred, -math.inf)


def _source_mask(
    views: Tensor | None, frames: int, silence: int, device: torch.device
) -> Tensor | None:
    """``[..., n, T + R]`` to add to scores of frames and rows of silence.

    Frames from ``views`` [..., n] on are barred, and rows of silence before them. Without views all
    is seen, and ``[T + R]``, or ``None`` if there is nothing to add, is enough.
    """
    weight = math.log(SILENCE_STRIDE)
    if views is None:
        if not silence:
            return None
        return torch.cat((torch.zeros(frames), torch.full((silence,), weight))).to(device)
    places = SILENCE_STRIDE * torch.arange(silence, device=views.device)
    barred = torch.where(places < views[..., None], -math.inf, weight)
    return torch.cat((_barred_above(views, frames), barred), dim=-1).to(device)


def _by_layer(config: TextDecoderConfig) -> dict[int, list[int]]:
    """Alignment heads by layer."""
    pairs = config.alignment_heads or [
        (layer, head)
        for layer in range(config.num_layers // 2, config.num_layers)
        for head in range(config.num_heads)
    ]
    found: dict[int, list[int]] = {}
    for layer, head in sorted(pairs):
        found.setdefault(layer, []).append(head)
    return found
