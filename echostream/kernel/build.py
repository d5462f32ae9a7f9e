"""Compiling the kernel, for the processor that it is to run on."""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from echostream.errors import ConfigError

_FOLDER = Path(__file__).parent
_FLAGS = (
    *("-O3", "-march=native", "-fopenmp", "-shared", "-fPIC", "-std=c++17"),
    # Not -ffast-math: of that, some compilers make a library that flushes denormal numbers to zero
    # in whatever loads it.
    *("-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"),
    # Where a loop begins in a line of the processor's cache is worth a tenth of its time; so that a
    # change in one function does not move the loops of another.
    *("-falign-functions=64", "-falign-loops=32"),
)


def compiler() -> str | None:
    """The C++ compiler that the kernel and graphs are compiled with; ``None`` without one."""
    return shutil.which(os.environ.get("CXX") or "g++")


def has_compiler() -> bool:
    """Whether the kernel can be compiled here."""
    return sys.platform == "linux" and compiler() is not None


def kernel_version() -> str:
    """Changes with the kernel's sources and with the instructions that this processor has."""
    sources = b"".join(path.read_bytes() for path in (*_sources(), *sorted(_FOLDER.glob("*.h"))))
    return f"{_digest(sources)}-{_digest(_processor())}"


def _sources() -> list[Path]:
    return sorted(_FOLDER.glob("*.cpp"))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


@functools.cache
def _processor() -> bytes:
    try:
        lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    except OSError:
        lines = []
    # The line is named flags on x86 and Features on ARM.
    flags = next((line for line in lines if line.lower().startswith((b"flags", b"features"))), b"")
    return flags or os.uname().machine.encode()


def has_int8_products() -> bool:
    """Whether the processor has the instructions for weights in bytes."""
    return b"avx512_vnni" in _processor().split()


def compile_kernel(path: Path) -> None:
    """Write the kernel as a shared library.

    Raises:
        ConfigError: if that fails, with what the compiler said.
    """
    # Not imported where the kernel is there already: it takes a while.
    torch_files: Any = importlib.import_module("torch.utils.cpp_extension")
    command = [compiler() or "g++", *_FLAGS, *map(str, _sources()), "-o", str(path)]
    command += [f"-I{folder}" for folder in torch_files.include_paths()]
    command += [f"-L{folder}" for folder in torch_files.library_paths()]
    command += ["-ltorch_cpu", "-lc10"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise ConfigError(
            f"the C++ compiler {command[0]} cannot compile the kernel: {said.strip()[-2000:]}; "
            "expected g++ 9 or newer, or name another in CXX; backend openvino needs none"
        ) from error
