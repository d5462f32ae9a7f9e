"""Attention of a Zipformer layer: weights computed once, used three times.

Symbols: ``B`` streams, ``N`` chunks in this call, ``S`` frames of a chunk, ``P`` frames of left
context, ``W = P + S`` frames of a window, ``C`` channels, ``H`` heads, ``R = P + 2S - 1`` relative
positions.

Every module takes ``[B, N * S, C]`` and the last ``P`` projected frames of the past, and returns
the new last ``P``. An offline pass is the same call with many chunks and an empty past, so the two
cannot drift apart. Source: arXiv 2310.11230, sections 3.2 and 4.
"""

import functools
import math

import torch
from torch import Tensor, nn

from echostream.encoder.ct_mask import StackMask
from echostream.encoder.linear import Linear, scaled_linear
from echostream.encoder.prepared import PreparedModule
from echostream.kernel import Kernel, kernel_for


def extend(past: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """``x`` [B, T, C] with its past [B, P, C] before it, and the past of the next call.

    The past is a copy: a view would keep the whole window in memory.
    """
    if past.shape[1] == 0:
        return x, past
    whole = torch.cat((past, x), dim=1)
    return whole, whole[:, x.shape[1] :].clone()


def advance(past: Tensor, x: Tensor) -> Tensor:
    """The past of the next call alone, as :func:`extend` gives it."""
    frames, left = x.shape[1], past.shape[1]
    if frames < left:
        return torch.cat((past[:, frames:], x), dim=1)
    return x[:, frames - left :].clone()


_LONGEST_CHUNK = 128
"""Frames beyond which a library's matrix products, on several threads, are the faster ones."""


def chunk_kernel(x: Tensor, masks: StackMask) -> Kernel | None:
    """The kernel, if it is there and ``x`` [B, N * S, C] is one chunk of each stream."""
    one = x.shape[1] == masks.chunk <= _LONGEST_CHUNK
    return kernel_for(x) if one else None


def windows(whole: Tensor, masks: StackMask, heads: int) -> Tensor:
    """Cut ``[B, P + N * S, C]`` into what each chunk sees: ``[B * N, H, C / H, W]``."""
    width = masks.left + masks.chunk
    # A single chunk sees all there is.
    one = whole.shape[1] == width
    cut = whole.transpose(1, 2) if one else whole.unfold(1, width, masks.chunk)
    return cut.reshape(-1, heads, whole.shape[2] // heads, width)


def value_windows(whole: Tensor, masks: StackMask, heads: int) -> Tensor:
    """As :func:`windows`, with frames before channels: ``[B * N, H, W, C / H]``."""
    width = masks.left + masks.chunk
    if whole.shape[1] == width:
        # Not by two transpositions: a compiler does not see that they undo each other.
        return whole.reshape(-1, width, heads, whole.shape[2] // heads).transpose(1, 2)
    return windows(whole, masks, heads).transpose(2, 3)


def split_heads(x: Tensor, masks: StackMask, heads: int) -> Tensor:
    """``[B, N * S, C] -> [B * N, H, S, C / H]``."""
    return x.reshape(-1, masks.chunk, heads, x.shape[2] // heads).transpose(1, 2)


def join_heads(x: Tensor, batch: int) -> Tensor:
    """``[B * N, H, S, C / H] -> [B, N * S, C]``; the inverse of :func:`split_heads`."""
    heads, size = x.shape[1], x.shape[3]
    return x.transpose(1, 2).reshape(batch, -1, heads * size)


@functools.lru_cache(maxsize=16)
@torch.inference_mode(False)
def relative_positions(left: int, chunk: int, dim: int, device: torch.device) -> Tensor:
    """Compact relative positional encoding, ``[R, dim]``; made once for each shape.

    Row ``r`` is for key - query = ``r - (P + S - 1)``. Distances are compressed logarithmically and
    bent into (-pi/2, pi/2), so nearby frames are told apart finely and far ones coarsely. The last
    column is 1 and serves as a bias.
    """
    offset = torch.arange(-(left + chunk - 1), chunk, device=device, dtype=torch.float32)
    compression = math.sqrt(dim)
    bent = (
        compression * offset.sign() * ((offset.abs() + compression).log() - math.log(compression))
    )
    angle = torch.atan(bent * (2.0 * math.pi / dim))[:, None] * torch.arange(
        1, dim // 2 + 1, device=device
    )
    encoding = torch.stack((angle.cos(), angle.sin()), dim=-1).flatten(1)
    encoding[:, -1] = 1.0
    return encoding


def align_positions(scores: Tensor, width: int) -> Tensor:
    """Turn scores by relative position ``[..., S, R]`` into scores by key ``[..., S, W]``.

    Query ``i`` and window column ``w`` have relative position row ``S - 1 - i + w``. Reading the
    flattened scores with a row length of ``R - 1`` instead of ``R`` makes that shift.
    """
    chunk, rows = scores.shape[-2:]
    if chunk == 1:
        return scores
    flat = scores.flatten(-2)[..., chunk - 1 : chunk * rows - 1]
    return flat.unflatten(-1, (chunk, rows - 1))[..., :width]


class AttentionWeights(PreparedModule):
    """Multi-head attention weights with relative positions."""

    def __init__(
        self, channels: int, heads: int, query_dim: int, pos_head_dim: int, pos_dim: int
    ) -> None:
        super().__init__()
        self.heads = heads
        self.sizes = (heads * query_dim, heads * query_dim, heads * pos_head_dim)
        self.pos_dim = pos_dim
        # The usual 1 / sqrt(query_dim) is in the initial size of queries and keys.
        self.in_proj = scaled_linear(channels, sum(self.sizes), query_dim**-0.25)
        self.pos_proj = scaled_linear(pos_dim, heads * pos_head_dim, 0.05, bias=False)

    def forward(self, x: Tensor, masks: StackMask, past_keys: Tensor) -> tuple[Tensor, Tensor]:
        """``[B, N * S, C] -> ([B * N, H, S, W] weights, [B, P, H * query_dim] keys)``."""
        projected = self.in_proj(x)
        query, key, pos_query = projected.split(self.sizes, dim=-1)
        kernel = chunk_kernel(x, masks)
        if kernel is not None:
            weights = kernel.attention_weights(
                projected, [past_keys], self._positions(masks, x), masks.mask, self.heads
            )
            return weights, advance(past_keys, key)
        keys, new_past = extend(past_keys, key)
        scores = split_heads(query, masks, self.heads) @ windows(keys, masks, self.heads)
        by_position = split_heads(pos_query, masks, self.heads) @ self._positions(masks, x)
        scores.add_(align_positions(by_position, scores.shape[-1])).add_(masks.mask)
        return scores.softmax(dim=-1), new_past

    def _positions(self, masks: StackMask, like: Tensor) -> Tensor:
        """The projected position encoding, ``[H, pos_head_dim, R]``."""

        def make() -> Tensor:
            encoding = relative_positions(masks.left, masks.chunk, self.pos_dim, like.device)
            projected = self.pos_proj(encoding.to(like.dtype))
            return projected.unflatten(1, (self.heads, -1)).permute(1, 2, 0).contiguous()

        return self.prepared((masks.left, masks.chunk), (self.pos_proj.weight,), make)


def mix(
    weights: Tensor, values: Tensor, masks: StackMask, past: Tensor, heads: int
) -> tuple[Tensor, Tensor]:
    """Means of values weighted by the first ``heads`` of ``weights``, and the next call's past.

    ``[B * N, at least H, S, W]``, ``[B, N * S, C] -> ([B, N * S, C], [B, P, C])``.
    """
    kernel = chunk_kernel(values, masks)
    if kernel is not None:
        return kernel.attention_mix(weights, [past], values, heads), advance(past, values)
    whole, new_past = extend(past, values)
    mixed = weights[:, :heads] @ value_windows(whole, masks, heads)
    return join_heads(mixed, values.shape[0]), new_past


class SelfAttention(nn.Module):
    """Values averaged with given attention weights."""

    def __init__(self, channels: int, heads: int, value_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj = Linear(channels, heads * value_dim)
        self.out_proj = scaled_linear(heads * value_dim, channels, 0.5)

    def forward(
        self, x: Tensor, weights: Tensor, masks: StackMask, past_values: Tensor
    ) -> tuple[Tensor, Tensor]:
        """``[B, N * S, C] -> ([B, N * S, C], [B, P, H * value_dim] values)``."""
        mixed, new_past = mix(weights, self.in_proj(x), masks, past_values, self.heads)
        return self.out_proj(mixed), new_past


class NonlinearAttention(nn.Module):
    """Gated values averaged with the weights of the first head, and gated again."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.in_proj = Linear(channels, 3 * hidden)
        self.out_proj = scaled_linear(hidden, channels, 0.5)

    def forward(
        self, x: Tensor, weights: Tensor, masks: StackMask, past_values: Tensor
    ) -> tuple[Tensor, Tensor]:
        """``[B, N * S, C] -> ([B, N * S, C], [B, P, hidden] values)``."""
        projected = self.in_proj(x)
        gate_in, value, gate_out = projected.chunk(3, dim=-1)
        kernel = chunk_kernel(projected, masks)
        gated = value * gate_in.tanh() if kernel is None else kernel.gated_tanh(projected)
        mixed, new_past = mix(weights, gated, masks, past_values, 1)
        return self.out_proj(mixed * gate_out), new_past
