"""What every encoder checks before it computes, and what its states are known by.

Symbols: ``B`` streams, ``T`` feature frames, ``F`` mel bins.
"""

import hashlib
import json
from typing import Any

import torch
from torch import Tensor, nn

from echostream.config import to_mapping
from echostream.errors import StateMismatchError, StreamClosedError


def layout_of(config: Any) -> str:
    """Names a configuration, so that states of another one are recognised."""
    described = json.dumps(to_mapping(config), sort_keys=True).encode()
    return hashlib.sha256(described).hexdigest()[:16]


def fingerprint_of(layout: str, encoder: nn.Module) -> str:
    """SHA-256 over the configuration of that layout and the encoder's weights."""
    digest = hashlib.sha256(layout.encode())
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(f"{name}{tensor.dtype}".encode())
        # As bytes, because numpy has no bfloat16.
        digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def check_features(features: Tensor, input_dim: int, dtype: torch.dtype) -> None:
    """Raise :class:`StateMismatchError` unless features are ``[B, T, F]`` of that type."""
    if features.dim() != 3 or features.shape[2] != input_dim:
        raise StateMismatchError(
            f"features have shape {tuple(features.shape)}; expected [batch, frames, {input_dim}]"
        )
    if features.dtype != dtype:
        raise StateMismatchError(
            f"features are {features.dtype} but the encoder is {dtype}; convert one with .to(dtype)"
        )


def check_lengths(
    features: Tensor, lengths: Tensor, taking_part: list[bool] | None = None
) -> list[int]:
    """``lengths`` [B] as numbers; those of streams that do not take part are 0.

    Raises:
        StateMismatchError: for another number of them, or one that is not from 0 to ``T``.
    """
    batch, total, _ = features.shape
    counts: list[int] = lengths.tolist()
    if lengths.shape == (batch,) and taking_part is not None:
        counts = [count if taken else 0 for count, taken in zip(counts, taking_part, strict=True)]
    if lengths.shape != (batch,) or not all(0 <= count <= total for count in counts):
        raise StateMismatchError(
            f"lengths are {counts} for features of shape {tuple(features.shape)}; "
            f"expected {batch} numbers from 0 to {total}"
        )
    return counts


def zero_after(x: Tensor, lengths: Tensor) -> Tensor:
    """``x`` [B, T, C] with zeros after the first ``lengths`` [B] frames of each stream.

    What stands there may be anything, not a number too, so it is never multiplied by zero.
    """
    after_end = torch.arange(x.shape[1], device=x.device) >= lengths[:, None]
    return x.masked_fill(after_end.unsqueeze(2), 0.0)


def check_state(state: Any, layout: str, counts: list[int]) -> None:
    """Check that ``counts`` [B] new feature frames may follow an encoder's state.

    Raises:
        StateMismatchError: for a state of another layout or number of streams.
        StreamClosedError: if a stream has ended before.
    """
    if state.layout != layout:
        raise StateMismatchError(
            f"the state was made by an encoder of another configuration ({state.layout}); "
            f"expected {layout}: use this encoder's init_state()"
        )
    if state.batch_size != len(counts):
        raise StateMismatchError(
            f"the state is for {state.batch_size} streams but the features are for "
            f"{len(counts)}; use init_state(batch_size) or its stack()"
        )
    finished = state.finished.tolist()
    if any(end and count > 0 for end, count in zip(finished, counts, strict=True)):
        raise StreamClosedError(
            f"{max(counts)} feature frames were pushed into a finished stream; start a new one "
            "with init_state()"
        )
