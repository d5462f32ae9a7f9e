"""Tensors in huge pages of memory.

A large tensor is read from one end to the other much faster than from pages of 4 kB, each of which
has to be found first.
"""

from __future__ import annotations

import contextlib
import mmap
import sys
import threading

import torch
from torch import Tensor

_HUGE_PAGE = 2**21


def in_huge_pages(count: int) -> Tensor:
    """``[count]`` float32 zeros, in huge pages where the system has and gives them."""
    if sys.platform != "linux" or count == 0:
        return torch.zeros(count, dtype=torch.float32, device="cpu")
    memory = mmap.mmap(-1, 4 * count + _HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # Not every kernel has them.
        memory.madvise(mmap.MADV_HUGEPAGE)
    values = torch.frombuffer(memory, dtype=torch.float32)
    start = -values.data_ptr() % _HUGE_PAGE // 4
    return values[start : start + count]


class HugePages:
    """Tensors side by side in huge pages, which a single layer's weights would fill badly.

    The memory of a block is given back when all tensors in it are gone.
    """

    _BLOCK = 2**23
    """Values of a block: 32 MiB, of which the system gives what is written to."""
    _ALIGNMENT = 16
    """Values of a cache line."""

    def __init__(self) -> None:
        self._block = in_huge_pages(0)
        self._used = 0
        self._lock = threading.Lock()

    def place(self, values: Tensor) -> Tensor:
        """A copy of ``values`` [n], float32."""
        count = values.shape[0]
        with self._lock:
            if self._used + count > self._block.shape[0]:
                self._block = in_huge_pages(max(count, self._BLOCK))
                self._used = 0
            placed = self._block[self._used : self._used + count]
            self._used += count + -count % self._ALIGNMENT
        return placed.copy_(values)
