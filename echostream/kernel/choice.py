"""When modules compute with the kernel, and with which form of it.

A module says in torch's operations what it computes; that is what is trained, counted and exported,
and what runs where there is no compiler. Where nobody wants more of it than its numbers, in float32
on a CPU, the kernel computes the same. While a graph is traced for the Inductor it is operators of
the graph that do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

import torch
from torch import Tensor

from echostream.kernel.library import shared_kernel


class ChunkKernel(Protocol):
    """What the kernel computes of one chunk of each stream.

    Symbols: ``B`` streams, ``S`` frames of the chunk, ``P`` frames of left context, ``W = P + S``,
    ``H`` heads, ``D`` numbers of a query, ``E`` of a query for positions, ``R = W + S - 1``
    relative positions, ``V`` numbers of a value, ``C`` channels, ``h`` frames and ``K`` taps.
    """

    def attention_weights(
        self,
        projected: Tensor,
        past: Sequence[Tensor],
        positions: Tensor,
        mask: Tensor,
        heads: int,
    ) -> Tensor:
        """Softmax of products of queries and keys, with relative positions.

        Args:
            projected: ``[B, S, 2 H D + H E]`` queries, keys, queries for positions.
            past: ``[B, P, H D]`` keys, in blocks of as many frames each, the oldest first.
            positions: ``[H, E, R]``.
            mask: ``[B, 1, S, W]``, added to the scores.
            heads: ``H``.

        Returns:
            ``[B, H, S, W]``.
        """

    def attention_mix(
        self, weights: Tensor, past: Sequence[Tensor], values: Tensor, heads: int
    ) -> Tensor:
        """Means of values, weighted.

        Args:
            weights: ``[B, at least H, S, W]``, of which the first ``H`` heads are used.
            past: ``[B, P, H V]`` values, in blocks likewise.
            values: ``[B, S, H V]``.
            heads: ``H``.

        Returns:
            ``[B, S, H V]``.
        """

    def depthwise_swoosh(self, past: Tensor, x: Tensor, taps: Tensor, bias: Tensor) -> Tensor:
        """SwooshR of a depthwise convolution; frames after the chunk count as zero.

        Args:
            past: ``[B, h, C]``.
            x: ``[B, S, C]``.
            taps: ``[K, C]``, the first for the oldest frame of the past.
            bias: ``[C]``.

        Returns:
            ``[B, S, C]``.
        """

    def stem(self, features: Tensor, layers: Sequence[Tensor], outputs: Sequence[int]) -> Tensor:
        """Three 3x3 convolutions over time and mel bins, and SwooshR of each.

        None is padded in time, all are by one bin at each end; the second takes every other frame
        and bin, the third every other bin.

        Args:
            features: ``[B, T, F]``, ``T`` an odd number from 9 on.
            layers: the convolutions, each laid out by :func:`echostream.kernel.pack_weights` as a
                linear layer whose inputs are 3 frames of 3 bins of the channels before it.
            outputs: of each the channels after it, ``C`` after the last.

        Returns:
            ``[B, (T - 7) / 2, C F / 4]``, of each channel all bins one after the other.
        """

    def gated_sigmoid(self, projected: Tensor, valid: Tensor) -> Tensor:
        """Values times the sigmoid of their gates, zero for frames that do not exist.

        Args:
            projected: ``[B, S, 2 C]`` values, gates.
            valid: ``[B, S, 1]`` 1.0 for frames of the recording, 0.0 for others.

        Returns:
            ``[B, S, C]``.
        """

    def gated_tanh(self, projected: Tensor) -> Tensor:
        """Values times tanh of their gates.

        Args:
            projected: ``[B, S, 3 C]`` gates, values, and what is not used here.

        Returns:
            ``[B, S, C]``.
        """

    def swoosh_r(self, x: Tensor) -> Tensor:
        """SwooshR of each number, in the order of memory that ``x`` is in."""


class GraphKernel(ChunkKernel, Protocol):
    """The same as operators of a graph, which has the layers' weights too."""

    def linear(self, x: Tensor, weight: Tensor, *, swoosh_epilogue: bool) -> Tensor:
        """A layer of the traced module, and SwooshL of it, ``[..., K] -> [..., N]``."""


_of_graph: ContextVar[GraphKernel | None] = ContextVar("kernel_of_graph", default=None)


@contextmanager
def tracing_with(kernel: GraphKernel) -> Iterator[None]:
    """While it is entered, modules compute with ``kernel``'s operators."""
    token = _of_graph.set(kernel)
    try:
        yield
    finally:
        _of_graph.reset(token)


graph_kernel = _of_graph.get
"""What a graph is being traced with; ``None`` where none is."""


def kernel_for(x: Tensor) -> ChunkKernel | None:
    """The kernel, where ``x`` is to be computed with it; else ``None``."""
    traced = graph_kernel()
    if traced is not None:
        return traced
    return shared_kernel() if is_plain_inference(x) else None


def is_plain_inference(x: Tensor) -> bool:
    """Whether nobody wants more of what is made of ``x`` than its numbers, in float32 on the CPU.

    A gradient would be more, and so is what is done to count, watch or export operations.
    """
    return (
        not torch.is_grad_enabled()
        and torch._C._len_torch_dispatch_stack() == 0
        and not torch._C._is_tracing()
        and not torch.compiler.is_compiling()
        and x.dtype == torch.float32
        and x.is_cpu
    )
