"""Few shapes of matrices, so that what was compiled for one is found again.

In bfloat16 oneDNN compiles a product for each shape that it meets. Windows of any length would have
it compile for half of the time of an update, and forget what it has compiled.
"""

import os

from torch import Tensor
from torch.nn import functional

FRAMES, TOKENS = 128, 16
"""Encoder frames and tokens come in multiples of these."""

_KEPT = "8192"
_CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
"""Of oneDNN's programs, and of PyTorch's descriptions of them; both are read at their first use."""


def keep_compiled() -> None:
    """Have this process and its children keep what is compiled for more shapes than usual."""
    for name in _CACHES:
        os.environ.setdefault(name, _KEPT)


def padded(x: Tensor, multiple: int, dim: int = -1) -> Tensor:
    """``x`` with zeros behind it along ``dim`` up to the next multiple."""
    missing = -x.shape[dim] % multiple
    behind = x.dim() - 1 - dim % x.dim()
    return functional.pad(x, (*([0, 0] * behind), 0, missing)) if missing else x
