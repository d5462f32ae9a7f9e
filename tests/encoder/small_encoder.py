"""A small encoder with every parameter drawn at random, and ways to drive it.

At their initial values many parameters are zero or alike (biases, bypass scales, norm biases,
down-sampling weights), which would hide mistakes. Widths, heads and kernels differ from stack to
stack for the same reason, and one stack has two layers.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from echostream.config import EncoderConfig
from echostream.encoder.prepared import PreparedModule
from echostream.encoder.stream_state import StreamState
from echostream.encoder.zipformer import ZipformerEncoder

INPUT_DIM = 5
CHUNK_SIZES = (8, 16, 24, 64)
FUTURES = (None, 0, 1, 4)


def small_config(memory_size: int = 4, **changes: object) -> EncoderConfig:
    fields: dict[str, object] = {
        "input_dim": INPUT_DIM,
        "embed_dim": (16, 24, 32, 40, 32, 24),
        "num_heads": (2, 3, 2, 4, 1, 2),
        "ffn_dim": (32, 32, 48, 48, 32, 32),
        "num_layers_per_stack": (1, 2, 1, 1, 1, 1),
        "conv_kernel": (7, 5, 5, 5, 3, 5),
        "query_head_dim": 6,
        "value_head_dim": 5,
        "pos_head_dim": 3,
        "pos_dim": 8,
        "stem_channels": (2, 3, 4),
        "memory_size": memory_size,
        "memory_segment": 16,
        "memory_dim": 12,
    }
    return EncoderConfig(**(fields | changes))  # type: ignore[arg-type]


def randomise(module: torch.nn.Module, seed: int = 0) -> None:
    """Draw every parameter so that each one matters and nothing saturates."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
            if name.endswith("log_scale"):
                value = 0.2 * noise
            elif name.endswith("scale"):
                value = 0.2 + 0.6 * torch.rand(parameter.shape, generator=draw, dtype=torch.float64)
            elif parameter.dim() > 1:
                value = noise / max(1, parameter[0].numel()) ** 0.5
            else:
                value = 0.5 * noise
            parameter.copy_(value)


@functools.cache
def small_encoder(
    memory_size: int = 4, dtype: torch.dtype = torch.float64, seed: int = 0
) -> ZipformerEncoder:
    """Shared between tests: never change its weights."""
    encoder = ZipformerEncoder.from_config(small_config(memory_size))
    randomise(encoder, seed)
    return encoder.to(dtype).eval().requires_grad_(False)


def keep_nothing_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that change functions of the encoder, whose results would otherwise be kept."""
    monkeypatch.setattr(PreparedModule, "prepared", lambda self, settings, sources, make: make())


def noise(
    *shape: int, seed: int = 0, dtype: torch.dtype = torch.float64, scale: float = 1.0
) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(*shape, generator=draw, dtype=torch.float64)).to(dtype)


def push(
    encoder: ZipformerEncoder, features: Tensor, cuts: Sequence[int], state: StreamState
) -> tuple[Tensor, StreamState]:
    """Step one recording ``[B, T, F]`` cut at ``cuts`` (ascending) to its end."""
    outputs = []
    edges = [0, *cuts, features.shape[1]]
    for index in range(len(edges) - 1):
        piece = features[:, edges[index] : edges[index + 1]]
        y, lengths, state = encoder.step(piece, state, is_final=index == len(edges) - 2)
        assert lengths.tolist() == [y.shape[1]] * features.shape[0]
        outputs.append(y)
    return torch.cat(outputs, dim=1), state


def push_ragged(
    encoder: ZipformerEncoder,
    recordings: Sequence[Tensor],
    plan: Sequence[Sequence[int]],
    state: StreamState,
    *,
    is_final: bool = True,
) -> tuple[list[Tensor], StreamState]:
    """Step recordings ``[T_b, F]`` together, ``plan[k][b]`` new frames of recording ``b`` in step
    ``k``; noise stands after each stream's own frames in every step."""
    given = [0] * len(recordings)
    outputs: list[list[Tensor]] = [[] for _ in recordings]
    for k, counts in enumerate(plan):
        like = recordings[0]
        block = noise(len(recordings), max(counts), like.shape[1], seed=k, scale=3.0).to(like)
        for b, count in enumerate(counts):
            block[b, :count] = recordings[b][given[b] : given[b] + count]
            given[b] += count
        last = is_final and k == len(plan) - 1
        y, lengths, state = encoder.step(block, state, torch.tensor(counts), is_final=last)
        assert y.shape[1] == int(lengths.max())
        for b, length in enumerate(lengths.tolist()):
            outputs[b].append(y[b, :length])
            assert not y[b, length:].any(), "frames after a stream's own are zero"
    return [torch.cat(parts) for parts in outputs], state


def largest_difference(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape, (a.shape, b.shape)
    return float((a - b).abs().max()) if a.numel() else 0.0
