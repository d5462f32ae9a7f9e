"""The compiled kernel in this process, and when modules compute with it.

A module says in torch's operations what it computes; that is what is trained, counted and exported,
and what runs where there is no compiler. In plain inference, float32 on a CPU, the kernel computes
the same. While a graph is traced for the Inductor, the kernel's operations become its nodes.
"""

import abc
import ctypes
import functools
import hashlib
import logging
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from echostream.errors import ConfigError
from echostream.kernel.build import (
    compile_kernel,
    compiler_missing,
    compiler_version,
    kernel_version,
)
from echostream.kernel.operations import NAMES, Operations
from echostream.locations import users_cache

_SLOWER = "models run without the project's kernel, at about half the speed"

_log = logging.getLogger(__name__)


class Kernel(Operations):
    """The operations, computed by the library that :func:`load_kernel` has loaded."""

    _library: ClassVar[ctypes.CDLL | None] = None

    def __init__(self) -> None:
        self.library: Any = Kernel._library
        for name in NAMES:
            setattr(self, name, getattr(torch.ops.echostream, name).default)

    def set_threads(self, count: int) -> None:
        """For the graphs that the calling thread runs from now on."""
        self.library.echostream_set_graph_threads(count)


def load_kernel(path: Path) -> Kernel:
    """The kernel of a file from :func:`echostream.kernel.compile_kernel`.

    It stays in the process for good: compiled graphs find its functions by their names, and torch
    its operations. So only the first file that a process loads is used.

    Raises:
        OSError: if it cannot be loaded.
    """
    if Kernel._library is None:
        library = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        if not hasattr(torch.ops.echostream, NAMES[0]):
            if library.echostream_register():
                raise OSError(f"{path}: torch {torch.__version__} does not take its operations")
            for name in NAMES:
                torch.library.register_fake(f"echostream::{name}", getattr(Operations, name))
        Kernel._library = library
    return Kernel()


@functools.cache
def shared_kernel() -> Kernel | None:
    """The kernel that all models of this process use in torch.

    It is compiled when it is first wanted, which takes some seconds, and kept in the user's cache
    (``$XDG_CACHE_HOME/echostream``, by default ``~/.cache/echostream``).

    Returns:
        ``None`` where there is no C++ compiler and none was compiled before, or where it fails,
        which is logged with the reason.
    """
    with _wanting:  # Threads that come meanwhile find what the first has made.
        return _found_or_compiled()


_wanting = threading.Lock()


def _found_or_compiled() -> Kernel | None:
    version, compiler = kernel_version(), compiler_version()
    name = f"kernel-{version}-{compiler}.so"
    try:
        folder = users_cache()
        # Without a compiler, that of any is as good.
        there = [folder / name] if compiler else sorted(folder.glob(f"kernel-{version}-*.so"))
        for path in there:
            if path.is_file() and (kernel := _loaded(path)):
                return kernel
        missing = compiler_missing()
        if missing is None:
            return _compiled(folder, name)
        _log.warning("%s: %s", _SLOWER, missing)
    except (ConfigError, OSError) as error:
        _log.warning("%s: %s", _SLOWER, error)
    return None


def _loaded(path: Path) -> Kernel | None:
    """``None`` if the file is not what was compiled: loading a part of one ends the process."""
    try:
        data = path.read_bytes()
        if _sum(data[:-_SUM_BYTES]) == data[-_SUM_BYTES:]:
            return load_kernel(path)
        reason = f"{path} is cut or altered"
    except OSError as error:
        reason = str(error)
    _log.warning("the compiled kernel cannot be used, so it is compiled again: %s", reason)
    return None


_SUM_BYTES = 32


def _sum(data: bytes) -> bytes:
    """SHA-256, which stands behind a library in its file: whoever loads it reads over that."""
    return hashlib.sha256(data).digest()


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
            return load_kernel(Path(other) / name)
    try:
        compile_kernel(temporary)
        with temporary.open("r+b") as file:
            file.write(_sum(file.read()))
        temporary.replace(folder / name)  # At once, so that nobody loads half of it.
    finally:
        temporary.unlink(missing_ok=True)
    return load_kernel(folder / name)


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

    A gradient would be more, and so is what is done to count, watch or export operations. Under
    autocast it is PyTorch that chooses the precision of each operation.
    """
    return (
        not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and torch._C._len_torch_dispatch_stack() == 0
        and not torch._C._is_tracing()
        and not torch.compiler.is_compiling()
        and x.dtype == torch.float32
        and x.is_cpu
    )
