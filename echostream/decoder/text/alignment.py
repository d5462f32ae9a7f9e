"""What a token is about: the encoder frame that its attention goes to more than usual.

Symbols: ``n`` tokens, ``T`` encoder frames in the window.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

NEAR = 100
"""Frames from one token to the next for which a look counts 1/e: words follow one another."""


@dataclass(frozen=True, eq=False)
class Look:
    """Where a token looked."""

    heard: Tensor
    """``[T]`` mean attention of the alignment heads to the frames."""
    frame: int
    """Encoder frame of the stream that it is about."""
    silent: float
    """Share that went to the silence after them."""


@dataclass(frozen=True, eq=False)
class Looked:
    """How the tokens of a window looked so far."""

    total: Tensor = torch.zeros(0)
    """``[any]`` attention of all of them, summed; nothing to frames that came later."""
    count: int = 0
    """How many they are."""
    frame: int | None = None
    """Encoder frame of the stream that the last one is about."""

    def after(self, rows: Sequence[Tensor], frame: int | None) -> "Looked":
        """With ``[T]`` of more tokens, the last of which is about ``frame``."""
        if not rows:
            return self
        total = _padded(self.total, len(rows[0])) + torch.stack(tuple(rows)).sum(dim=0)
        return Looked(total, self.count + len(rows), frame)


def looks_of(heard: Tensor, looked: Looked, base: int) -> list[Look]:
    """Where tokens looked.

    Some frames (a pause, the first ones) are looked at whatever is said. What a token looks at more
    than those before it did, not far from the last one, is what it is about.

    Args:
        heard: ``[n, T]`` how they look at the frames, in the mean of the alignment heads.
        looked: of the tokens before them.
        base: frame of the stream that is the first one.
    """
    length = heard.shape[1]
    sums = torch.cat((_padded(looked.total, length)[None], heard[:-1])).cumsum(dim=0)
    counts = torch.arange(len(heard)) + looked.count
    unusual = (heard - sums / counts.clamp_min(1)[:, None]).clamp_min(0)
    silent = (1 - heard.sum(dim=1)).tolist()
    places, previous = torch.arange(base, base + length), looked.frame
    looks = []
    for row, more, share in zip(heard, unusual, silent, strict=True):
        if previous is not None:
            more = more * torch.exp(-(places - previous).abs() / NEAR)
        previous = base + int(more.argmax())
        looks.append(Look(row, previous, share))
    return looks


def _padded(row: Tensor, frames: int) -> Tensor:
    return torch.nn.functional.pad(row, (0, frames - len(row)))
