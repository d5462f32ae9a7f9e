"""Weights in the order in which the kernel reads them, in int8, and in huge pages of memory.

Symbols: ``K`` inputs, ``N`` outputs.

A large tensor is read from one end to the other much faster in huge pages than from pages of 4 kB,
each of which has to be found first.
"""

import contextlib
import mmap
import sys
import threading
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


def quantise_int8(weights: Any, inputs_axis: int) -> tuple[Any, Any]:
    """int8 values from -127 to 127 and float32 scales, whose product is nearest to ``weights``.

    Each output has one scale: ``scales`` has size 1 along ``inputs_axis``.
    """
    largest = np.abs(weights).max(axis=inputs_axis, keepdims=True)
    scales = np.maximum(largest, 1e-12).astype(np.float32) / np.float32(127)
    return np.rint(weights / scales).clip(-127, 127).astype(np.int8), scales


TILE = 32
"""Outputs that are computed side by side."""


def pack_weights(weight: Tensor, bias: Tensor | None) -> Tensor:
    """``[N, K]`` and ``[N]`` as the kernel reads them, one after the other: a flat tensor."""
    outputs, inputs = weight.shape
    missing = -outputs % TILE
    packed = functional.pad(weight, (0, 0, 0, missing)).view(-1, TILE, inputs).transpose(1, 2)
    end = weight.new_zeros(outputs) if bias is None else bias
    return torch.cat((packed.reshape(-1), functional.pad(end, (0, missing))))


def unpack_weights(packed: Tensor, inputs: int, outputs: int) -> tuple[Tensor, Tensor]:
    """``[N, K]`` and ``[N]`` of a layer packed by :func:`pack_weights`."""
    padded = _padded(outputs)
    weights, bias = packed.split((padded * inputs, padded))
    weight = weights.view(-1, inputs, TILE).transpose(1, 2).reshape(padded, inputs)
    return weight[:outputs], bias[:outputs]


def pack_weights_int8(weight: Tensor, bias: Tensor | None) -> Tensor:
    """As :func:`pack_weights` in int8, four in a float32, and the scale of each output."""
    outputs, inputs = weight.shape
    rounded, scales = quantise_int8(weight.numpy(), 1)
    missing = -outputs % TILE
    padded = functional.pad(torch.from_numpy(rounded), (0, -inputs % 4, 0, missing))
    # The processor multiplies signed by unsigned bytes.
    stored = (padded.to(torch.int16) + 128).to(torch.uint8)
    packed = stored.view(-1, TILE, padded.shape[1] // 4, 4).transpose(1, 2).reshape(-1)
    end = weight.new_zeros(outputs) if bias is None else bias
    columns = (torch.from_numpy(scales).flatten(), end)
    return torch.cat(
        (packed.view(torch.float32), *(functional.pad(column, (0, missing)) for column in columns))
    )


def _padded(outputs: int) -> int:
    return -(-outputs // TILE) * TILE


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
