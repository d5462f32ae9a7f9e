"""When modules compute with the kernel.

A module says in torch's operations what it computes; that is what is trained, counted and exported,
and what runs where there is no compiler. In plain inference, float32 on a CPU, the kernel computes
the same. While a graph is traced for the Inductor, the kernel's operations become its nodes.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from echostream.kernel.library import Kernel, shared_kernel


class GraphKernel(Kernel, abc.ABC):
    """The kernel while a graph is traced, which has the weights of the layers too."""

    @abc.abstractmethod
    def linear(self, x: Tensor, weight: Tensor, *, swoosh_epilogue: bool) -> Tensor:
        """A layer of the traced module, ``[..., I] -> [..., O]``, and SwooshL of it if wanted."""


_tracing: ContextVar[GraphKernel | None] = ContextVar("graph_kernel", default=None)


@contextmanager
def tracing_with(kernel: GraphKernel) -> Iterator[None]:
    """While it is entered, modules compute with ``kernel``."""
    token = _tracing.set(kernel)
    try:
        yield
    finally:
        _tracing.reset(token)


graph_kernel = _tracing.get
"""What a graph is being traced with; ``None`` where none is."""


def kernel_for(x: Tensor) -> Kernel | None:
    """The kernel, where ``x`` is to be computed with it; else ``None``."""
    traced = graph_kernel()
    if traced is not None:
        return traced
    return shared_kernel() if is_plain_inference(x) else None


def is_plain_inference(x: Tensor) -> bool:
    """Whether the values of what is made of ``x`` are all that is wanted, in float32 on the CPU.

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
