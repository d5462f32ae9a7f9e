"""The compiled kernel in this process.

Symbols: ``M`` rows, ``K`` inputs, ``N`` outputs.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echostream.errors import ConfigError
from echostream.kernel.build import compile_kernel, has_compiler, kernel_version
from echostream.kernel.mel_bank import MelBank

_log = logging.getLogger(__name__)


class Kernel:
    """The kernel, in this process for good: compiled graphs find it by its name.

    Args:
        path: from :func:`echostream.kernel.compile_kernel`; only the first that a process loads is
            used.

    Raises:
        OSError: if it cannot be loaded.
    """

    _library: ctypes.CDLL | None = None

    def __init__(self, path: Path) -> None:
        if Kernel._library is None:
            Kernel._library = _declared(ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL))
        self.library = Kernel._library

    def set_threads(self, count: int) -> None:
        """For the graphs that the calling thread runs from now on."""
        self.library.echostream_set_graph_threads(count)

    def linear(
        self, x: Tensor, packed: Tensor, outputs: int, *, swoosh_epilogue: bool = False
    ) -> Tensor:
        """A linear layer on torch's threads, ``[..., K] -> [..., N]``.

        Args:
            x: float32 numbers on the CPU.
            packed: from :func:`echostream.kernel.pack_weights`.
            outputs: ``N``.
            swoosh_epilogue: whether SwooshL of it is wanted.
        """
        x = x.contiguous()
        inputs = x.shape[-1]
        y = torch.empty((*x.shape[:-1], outputs), dtype=torch.float32)
        self.library.echostream_linear(
            x.data_ptr(),
            x.numel() // inputs,
            inputs,
            packed.data_ptr(),
            outputs,
            swoosh_epilogue,
            None,
            y.data_ptr(),
            torch.get_num_threads(),
        )
        return y

    def attention_weights(
        self,
        projected: Tensor,
        past: Sequence[Tensor],
        positions: Tensor,
        mask: Tensor,
        heads: int,
    ) -> Tensor:
        """See :class:`echostream.kernel.choice.ChunkKernel`."""
        projected, positions, mask = (
            projected.contiguous(),
            positions.contiguous(),
            mask.contiguous(),
        )
        past = [block.contiguous() for block in past]
        batch, frames, _ = projected.shape
        _, left, channels = past[0].shape
        left *= len(past)
        weights = torch.empty((batch, heads, frames, left + frames), dtype=torch.float32)
        self.library.echostream_attention_weights(
            projected.data_ptr(),
            _addresses(past),
            len(past),
            positions.data_ptr(),
            mask.data_ptr(),
            batch,
            frames,
            left,
            heads,
            channels // heads,
            positions.shape[1],
            weights.data_ptr(),
        )
        return weights

    def attention_mix(
        self, weights: Tensor, past: Sequence[Tensor], values: Tensor, heads: int
    ) -> Tensor:
        """See :class:`echostream.kernel.choice.ChunkKernel`."""
        weights, values = weights.contiguous(), values.contiguous()
        past = [block.contiguous() for block in past]
        batch, frames, channels = values.shape
        mixed = torch.empty((batch, frames, channels), dtype=torch.float32)
        self.library.echostream_attention_mix(
            weights.data_ptr(),
            _addresses(past),
            len(past),
            values.data_ptr(),
            batch,
            weights.shape[1],
            frames,
            len(past) * past[0].shape[1],
            heads,
            channels // heads,
            mixed.data_ptr(),
        )
        return mixed

    def depthwise_swoosh(self, past: Tensor, x: Tensor, taps: Tensor, bias: Tensor) -> Tensor:
        """See :class:`echostream.kernel.choice.ChunkKernel`."""
        past, x, taps = past.contiguous(), x.contiguous(), taps.contiguous()
        batch, frames, channels = x.shape
        y = torch.empty((batch, frames, channels), dtype=torch.float32)
        self.library.echostream_depthwise_swoosh(
            past.data_ptr(),
            x.data_ptr(),
            taps.data_ptr(),
            bias.data_ptr(),
            batch,
            frames,
            past.shape[1],
            taps.shape[0],
            channels,
            y.data_ptr(),
        )
        return y

    def stem(self, features: Tensor, layers: Sequence[Tensor], outputs: Sequence[int]) -> Tensor:
        """See :class:`echostream.kernel.choice.ChunkKernel`."""
        features = features.contiguous()
        batch, frames, bins = features.shape
        y = torch.empty((batch, *stem_sizes(frames, bins, outputs[-1])), dtype=torch.float32)
        self.library.echostream_stem(
            features.data_ptr(),
            batch,
            frames,
            bins,
            _addresses(layers),
            (ctypes.c_int64 * len(outputs))(*outputs),
            y.data_ptr(),
            torch.get_num_threads(),
        )
        return y

    def gated_sigmoid(self, projected: Tensor, valid: Tensor) -> Tensor:
        """See :class:`echostream.kernel.choice.ChunkKernel`."""
        projected, valid = projected.contiguous(), valid.contiguous()
        batch, frames, channels = projected.shape
        y = torch.empty((batch, frames, channels // 2), dtype=torch.float32)
        self.library.echostream_gated_sigmoid(
            projected.data_ptr(), valid.data_ptr(), batch * frames, channels // 2, y.data_ptr()
        )
        return y

    def gated_tanh(self, projected: Tensor) -> Tensor:
        """See :class:`echostream.kernel.choice.ChunkKernel`."""
        projected = projected.contiguous()
        batch, frames, channels = projected.shape
        y = torch.empty((batch, frames, channels // 3), dtype=torch.float32)
        self.library.echostream_gated_tanh(
            projected.data_ptr(), batch * frames, channels // 3, y.data_ptr()
        )
        return y

    def log_mel(self, signal: NDArray[np.float32], frames: int, bank: MelBank) -> Any:
        """Logarithms of mel energies, float32 ``[frames, 80]``; see :mod:`echostream.audio.fbank`.

        Args:
            signal: float32 ``[400 + 160 (frames - 1) or more]``, contiguous, full scale at 1.
            frames: from 1 on.
            bank: window and bins.
        """
        features = np.empty((frames, len(bank.firsts)), np.float32)
        self.library.echostream_log_mel(
            signal.ctypes.data, frames, *bank.addresses, features.ctypes.data
        )
        return features

    def swoosh_r(self, x: Tensor) -> Tensor:
        """See :class:`echostream.kernel.choice.ChunkKernel`."""
        if not x.is_contiguous(memory_format=torch.channels_last):
            x = x.contiguous()
        y = torch.empty_like(x)
        self.library.echostream_swoosh_r(x.data_ptr(), x.numel(), y.data_ptr())
        return y


def stem_sizes(frames: int, bins: int, channels: int) -> tuple[int, int]:
    """Frames and numbers of each that the stem makes."""
    return (frames - 7) // 2, channels * ((bins + 3) // 4)


def _addresses(tensors: Sequence[Tensor]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(tensors))(*[tensor.data_ptr() for tensor in tensors])


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    address, size, count = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
    layer: list[Any] = [address, size, size, address, size, count, address, address, count]
    library.echostream_linear.argtypes = layer
    library.echostream_linear_int8.argtypes = layer
    library.echostream_attention_weights.argtypes = [
        *(address, address, size, address, address),
        *([size] * 6),
        address,
    ]
    library.echostream_attention_mix.argtypes = [
        *(address, address, size, address),
        *([size] * 6),
        address,
    ]
    library.echostream_depthwise_swoosh.argtypes = [*[address] * 4, *[size] * 5, address]
    stem: list[Any] = [address, size, size, size, address, address, address, count]
    library.echostream_stem.argtypes = stem
    library.echostream_stem_int8.argtypes = stem
    library.echostream_log_mel.argtypes = [address, size, *[address] * 5]
    library.echostream_gated_sigmoid.argtypes = [address, address, size, size, address]
    library.echostream_gated_tanh.argtypes = [address, size, size, address]
    library.echostream_swoosh_r.argtypes = [address, size, address]
    library.echostream_set_graph_threads.argtypes = [count]
    for function in (
        library.echostream_attention_weights,
        library.echostream_attention_mix,
        library.echostream_depthwise_swoosh,
        library.echostream_stem,
        library.echostream_log_mel,
        library.echostream_gated_sigmoid,
        library.echostream_gated_tanh,
        library.echostream_swoosh_r,
        library.echostream_set_graph_threads,
    ):
        function.restype = None
    return library


@functools.cache
def shared_kernel() -> Kernel | None:
    """The kernel that all models of this process use in torch.

    It is compiled when it is first wanted, which takes some seconds, and kept in the user's cache
    (``$XDG_CACHE_HOME/echostream``, by default ``~/.cache/echostream``).

    Returns:
        ``None`` where there is no C++ compiler and none was compiled before, or where it fails,
        which is logged.
    """
    name = f"kernel-{kernel_version()}.so"
    try:
        folder = _cache()
        if (folder / name).is_file():
            try:
                return Kernel(folder / name)
            except OSError as error:
                _log.warning("%s, so it is compiled again", error)
        return _compiled(folder, name) if has_compiler() else None
    except (ConfigError, OSError) as error:
        _log.warning("models run without the project's kernel, more slowly: %s", error)
        return None


def _cache() -> Path:
    """The user's cache.

    Raises:
        OSError: if the user has no home.
    """
    given = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(given) if given else Path.home() / ".cache") / "echostream"
    except RuntimeError as error:
        raise OSError(f"{error}; set XDG_CACHE_HOME") from error


def _compiled(folder: Path, name: str) -> Kernel:
    _log.info("compiling the kernel into %s, once", folder)
    temporary = folder / f".{uuid.uuid4().hex[:8]}-{name}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary.touch()
    except OSError as error:
        _log.warning("cannot keep the compiled kernel in %s: %s", folder, error)
        # A library may be loaded and its file be gone.
        with tempfile.TemporaryDirectory(prefix="echostream-") as other:
            compile_kernel(Path(other) / name)
            return Kernel(Path(other) / name)
    try:
        compile_kernel(temporary)
        temporary.replace(folder / name)  # At once, so that nobody loads half of it.
    finally:
        temporary.unlink(missing_ok=True)
    return Kernel(folder / name)
