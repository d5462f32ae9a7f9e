"""Self-attention with relative positions, over all of the past and one's own chunk; dropout.

Symbols: ``B`` recordings, ``n`` frames of this call, ``K`` frames up to its end, ``H`` heads, ``D``
channels of a head, ``C = H D``, ``R = K + n - 1`` relative positions.

Source: Transformer-XL (arXiv 1901.02860, section 3.3) in the form of ESPnet, where the position
encoding of a pair depends on query minus key, so the same pair scores alike wherever it stands.
"""

import functools
import math

import torch
from torch import Tensor, nn

from echostream.encoder.linear import Linear

_STEPS = 1 << 16


class Dropout(nn.Dropout):
    """``torch.nn.Dropout`` that draws 16 bits for a number instead of 64.

    On a CPU PyTorch draws its masks one number at a time, which shows in a training step: a mask
    over all pairs of frames is drawn in each layer. The rate is exact to 1 / 65536.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name)
        """``input`` with zeros put in and the rest scaled up, in training; else as it is."""
        dropped = round(self.p * _STEPS)
        if not self.training or input.device.type != "cpu" or not 0 < dropped < _STEPS:
            return super().forward(input)
        size = input.numel()
        bits = torch.randint(-(1 << 63), (1 << 63) - 1, (-(-size // 4),), dtype=torch.int64)
        drawn = bits.view(torch.int16)[:size].view(input.shape)
        kept = (drawn >= dropped - _STEPS // 2).to(input.dtype)
        return input * kept.mul_(_STEPS / (_STEPS - dropped))


_SMALLEST_TABLE = 512


def hidden_keys(
    past: int, frames: int, chunk_size: int, lengths: Tensor | None, device: torch.device
) -> Tensor | None:
    """Which keys each frame must not see, ``[1 or B, 1, n, K]``; ``None`` if it may see all.

    A frame sees every frame up to the end of its chunk, a chunk of ``max(chunk_size, 1)`` frames,
    and none after the end of its recording.

    Args:
        past: frames before this call.
        frames: ``n``.
        chunk_size: frames of a chunk.
        lengths: ``[B]`` frames of each recording, ``None`` if all go on to the end.
        device: where to make it.
    """
    chunk = max(chunk_size, 1)
    key = torch.arange(past + frames, device=device)
    hidden = None
    if (past // chunk + 1) * chunk < past + frames:
        query = key[past:, None]
        hidden = (key >= (torch.div(query, chunk, rounding_mode="floor") + 1) * chunk)[None, None]
    if lengths is not None:
        absent = (key >= lengths[:, None])[:, None, None]
        hidden = absent if hidden is None else hidden | absent
    return hidden


def relative_positions(
    num_keys: int, frames: int, dim: int, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """Sinusoidal encoding ``[R, dim]`` of query minus key, from ``K - 1`` down to ``-(n - 1)``.

    For any length: the published table is rebuilt beyond 6000 frames, this one is cut from a table
    whose size is the next power of two.
    """
    behind, ahead = _rounded(num_keys), _rounded(frames)
    table = _table(behind, ahead, dim, device, dtype)
    return table[behind - num_keys : behind + frames - 1]


def _rounded(size: int) -> int:
    return max(_SMALLEST_TABLE, 1 << (size - 1).bit_length())


@functools.lru_cache(maxsize=8)
@torch.inference_mode(False)
def _table(behind: int, ahead: int, dim: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Rows for the relative positions ``behind - 1`` down to ``-(ahead - 1)``."""
    # In float32 whatever the model computes in, as the published table was made.
    distance = torch.arange(behind - 1, -ahead, -1, device=device, dtype=torch.float32)[:, None]
    step = torch.arange(0, dim, 2, device=device, dtype=torch.float32)
    angle = distance * torch.exp(step * -(math.log(10000.0) / dim))
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1).to(dtype)


class RelativeAttention(nn.Module):
    """Multi-head self-attention; ``pos_bias_u`` and ``pos_bias_v`` are Transformer-XL's u, v."""

    def __init__(self, embed_dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.linear_q = Linear(embed_dim, embed_dim)
        self.linear_k = Linear(embed_dim, embed_dim)
        self.linear_v = Linear(embed_dim, embed_dim)
        self.linear_out = Linear(embed_dim, embed_dim)
        self.linear_pos = Linear(embed_dim, embed_dim, bias=False)
        self.pos_bias_u = nn.Parameter(torch.empty(num_heads, self.head_dim))
        self.pos_bias_v = nn.Parameter(torch.empty(num_heads, self.head_dim))
        nn.init.xavier_uniform_(self.pos_bias_u)
        nn.init.xavier_uniform_(self.pos_bias_v)
        self.dropout = Dropout(dropout)

    def init_past(self, batch_size: int) -> Tensor:
        """No keys or values: ``[B, H, 0, D]``."""
        return self.pos_bias_u.new_zeros(batch_size, self.heads, 0, self.head_dim)

    def forward(
        self, x: Tensor, hidden: Tensor | None, past: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Attend from ``x`` ``[B, n, C]`` to the past and to ``x``.

        Args:
            x: frames that follow the past.
            hidden: from :func:`hidden_keys`.
            past: keys and values ``[B, H, K - n, D]``.

        Returns:
            ``[B, n, C]``, and keys and values ``[B, H, K, D]``.
        """
        # Scaled before the products, where there are fewer numbers.
        query = self._heads(self.linear_q(x))
        scale = 1 / math.sqrt(self.head_dim)
        keys = torch.cat((past[0], self._heads(self.linear_k(x))), dim=2)
        values = torch.cat((past[1], self._heads(self.linear_v(x))), dim=2)
        content = (query + self.pos_bias_u.unsqueeze(1)) * scale @ keys.transpose(2, 3)
        position = self._position_scores(
            (query + self.pos_bias_v.unsqueeze(1)) * scale, keys.shape[2]
        )
        scores = content + position
        if hidden is not None:
            # Not minus infinity: a recording without frames would make NaN of its padding.
            scores = scores.masked_fill(hidden, torch.finfo(scores.dtype).min)
        mixed = self.dropout(scores.softmax(dim=-1)) @ values
        return self.linear_out(mixed.transpose(1, 2).flatten(2)), (keys, values)

    def _heads(self, x: Tensor) -> Tensor:
        """``[B, n, C] -> [B, H, n, D]``."""
        return x.unflatten(2, (self.heads, self.head_dim)).transpose(1, 2)

    def _position_scores(self, query: Tensor, num_keys: int) -> Tensor:
        """Scores ``[B, H, n, K]`` of each query ``[B, H, n, D]`` with the positions of the keys."""
        batch, heads, frames, _ = query.shape
        width = self.linear_pos.in_features
        table = relative_positions(num_keys, frames, width, query.device, query.dtype)
        # query W table, multiplied from whichever side is cheaper. For one chunk that is from the
        # left, and then no step projects as many positions as there are frames heard.
        if batch * frames * (heads - 1) < width:
            weights = self.linear_pos.weight.unflatten(0, (heads, self.head_dim))
            by_position = (query @ weights) @ table.T
        else:
            projected = self.linear_pos(table).unflatten(1, (heads, self.head_dim))
            by_position = query @ projected.permute(1, 2, 0)
        return aligned(by_position.contiguous(), num_keys)


def aligned(scores: Tensor, num_keys: int) -> Tensor:
    """Scores by relative position ``[B, H, n, R]``, contiguous, as scores by key ``[B, H, n, K]``.

    Query ``i`` and key ``k`` have row ``n - 1 - i + k``. A view, whose gradient is one copy.
    """
    batch, heads, frames, rows = scores.shape
    return scores.as_strided(
        (batch, heads, frames, num_keys),
        (heads * frames * rows, frames * rows, rows - 1, 1),
        frames - 1,
    )
