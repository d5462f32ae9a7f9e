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
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from echostream.errors import ConfigError
from echostream.kernel.build import compile_kernel, has_compiler, kernel_version

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
        self._linear = self.library.echostream_linear

    def set_threads(self, count: int) -> None:
        """For the graphs that the calling thread runs from now on."""
        self.library.echostream_set_graph_threads(count)

    def linear(self, x: Tensor, panels: Tensor, outputs: int) -> Tensor:
        """A linear layer on torch's threads, ``[..., K] -> [..., N]``.

        Args:
            x: float32 numbers on the CPU.
            panels: from :func:`echostream.kernel.in_panels`.
            outputs: ``N``.
        """
        x = x.contiguous()
        inputs = x.shape[-1]
        y = torch.empty((*x.shape[:-1], outputs), dtype=torch.float32)
        self._linear(
            x.data_ptr(),
            x.numel() // inputs,
            inputs,
            panels.data_ptr(),
            outputs,
            y.data_ptr(),
            torch.get_num_threads(),
        )
        return y


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    address, size, count = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
    layer: list[Any] = [address, size, size, address, size, address, count]
    library.echostream_linear.argtypes = layer
    library.echostream_linear.restype = None
    library.echostream_linear_of_bytes.argtypes = layer
    library.echostream_set_graph_threads.argtypes = [count]
    library.echostream_set_graph_threads.restype = None
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
    name = f"panel_linear-{kernel_version()}.so"
    try:
        folder = _cache()
        if (folder / name).is_file():
            try:
                return Kernel(folder / name)
            except OSError as error:
                _log.warning("%s, so it is compiled again", error)
        return _compiled(folder, name) if has_compiler() else None
    except (ConfigError, OSError) as error:
        _log.warning("linear layers run without the project's kernel, more slowly: %s", error)
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
    _log.info("compiling the kernel of linear layers into %s, once", folder)
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
