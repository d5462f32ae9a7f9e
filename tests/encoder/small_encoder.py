"""A small encoder with every parameter drawn at random, and ways to drive it.

At their initial values many parameters are zero or alike (biases, bypass scales, norm biases,
down-sampling weights), which would hide mistakes. Widths, heads and kernels differ from stack to
stack for the same reason, and one stack has two layers.
"""

import functools
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from echostream.config import EncoderConfig
from echostream.constants import FRAME_SHIFT_MS
from echostream.encoder.prepared import PreparedModule
from echostream.encoder.state import EncoderState, State
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
    """Draw parameters and statistics so that each one matters and nothing saturates."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=draw, dtype=torch.float64)
            if name.endswith("log_scale"):
                value = 0.2 * noise
            elif name.endswith("scale"):
                value = 0.2 + 0.6 * torch.rand(tensor.shape, generator=draw, dtype=torch.float64)
            elif name.endswith("running_var"):
                value = 0.5 + noise.abs()
            elif "norm.weight" in name:
                value = 1 + 0.3 * noise
            elif tensor.dim() > 1 and "pos_bias" not in name:
                value = noise / max(1, tensor[0].numel()) ** 0.5
            else:
                value = 0.5 * noise
            tensor.copy_(value)


def fresh_encoder(seed: int = 0, **changes: Any) -> ZipformerEncoder:
    """In float32, and free to be changed."""
    encoder = ZipformerEncoder.from_config(small_config(**changes))
    randomise(encoder, seed)
    return encoder.eval()


@functools.cache
def small_encoder(
    memory_size: int = 4, dtype: torch.dtype = torch.float64, seed: int = 0
) -> ZipformerEncoder:
    """Shared between tests: never change its weights."""
    return fresh_encoder(seed, memory_size=memory_size).to(dtype).requires_grad_(False)


def keep_nothing_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that change functions of the encoder, whose results would otherwise be kept."""
    monkeypatch.setattr(PreparedModule, "prepared", lambda self, settings, sources, make: make())


def noise(
    *shape: int, seed: int = 0, dtype: torch.dtype = torch.float64, scale: float = 1.0
) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(*shape, generator=draw, dtype=torch.float64)).to(dtype)


def push(
    encoder: Any, features: Tensor, cuts: Sequence[int], state: EncoderState
) -> tuple[Tensor, Any]:
    """Step recordings ``[B, T, F]`` cut at ``cuts`` (ascending) to their end.

    Frames come out as soon as their chunk and its right context are whole, and no sooner.
    """
    outputs, here = [], state
    unit = encoder.frame_ms // FRAME_SHIFT_MS
    behind = unit * state.right_context
    start, given = int(state.pending_lengths[0]), 0
    edges = [0, *cuts, features.shape[1]]
    for index, (begin, end) in enumerate(pairwise(edges)):
        is_final = index == len(edges) - 2
        y, lengths, here = encoder.step(features[:, begin:end], here, is_final=is_final)
        assert lengths.tolist() == [y.shape[1]] * features.shape[0]
        given += y.shape[1]
        if not is_final:
            chunks = max(0, start + end - behind) // (unit * state.chunk_size)
            assert given == chunks * state.chunk_size
            waiting = start + end - unit * given
            assert here.pending_lengths.tolist() == [waiting] * features.shape[0]
        outputs.append(y)
    return torch.cat(outputs, dim=1), here


def equal(one: State, two: State, but: str = "", rows: slice = slice(None)) -> bool:
    """To the bit, of the same names and types, NaN equal to NaN; only these rows."""
    others = dict(two.named_tensors())
    return [name for name, _ in one.named_tensors()] == list(others) and all(
        name == but
        or tensor.dtype == others[name].dtype
        and torch.equal(
            tensor[rows].contiguous().view(torch.uint8),
            others[name][rows].contiguous().view(torch.uint8),
        )
        for name, tensor in one.named_tensors()
    )


def largest_difference(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape, (a.shape, b.shape)
    return float((a - b).abs().max()) if a.numel() else 0.0
