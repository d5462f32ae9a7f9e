"""Tensors in huge pages of memory.

A large tensor is read from one end to the other much faster than from pages of 4 kB, each of which
has to be found first.
"""

from __future__ import annotations

import contextlib
import mmap
import sys

import torch
from torch import Tensor

_HUGE_PAGE = 2**21


def in_huge_pages(count: int) -> Tensor:
    """``[count]`` float32 zeros, in huge pages where the system has and gives them."""
    if sys.platform != "linux" or count == 0:
        return torch.zeros(count)
    memory = mmap.mmap(-1, 4 * count + _HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # Not every kernel has them.
        memory.madvise(mmap.MADV_HUGEPAGE)
    numbers = torch.frombuffer(memory, dtype=torch.float32)
    start = -numbers.data_ptr() % _HUGE_PAGE // 4
    return numbers[start : start + count]
