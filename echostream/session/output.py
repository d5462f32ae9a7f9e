"""What is written: text or speech."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Text:
    """Whole words."""

    words: tuple[str, ...] = ()
    separator: str = " "
    """Between words; nothing in languages that write none."""

    def __str__(self) -> str:
        return self.separator.join(self.words)


@dataclass(frozen=True, eq=False)
class Speech:
    """Samples to play, and the words that they say."""

    samples: NDArray[np.float32]
    """``[n]`` in [-1, 1]."""
    sample_rate: int
    """Hz."""
    words: tuple[str, ...] = ()


Output = Text | Speech
