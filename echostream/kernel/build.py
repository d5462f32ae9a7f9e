"""Compiling the kernel, for the processor that it is to run on."""

import functools
import hashlib
import importlib
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

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


def compiler_command() -> list[str]:
    """The C++ compiler with the user's options: the words of ``CXX`` (g++) and ``CXXFLAGS``."""
    words = _words("CXX") or ["g++"]
    return [*words, *_words("CXXFLAGS")]


def _words(variable: str) -> list[str]:
    value = os.environ.get(variable, "")
    try:
        words = shlex.split(value)
    except ValueError:  # A quote without its end.
        words = value.split()
    # A path with a space in it, not quoted.
    return [value] if len(words) > 1 and os.access(value, os.X_OK) else words


def compiler_missing() -> str | None:
    """Why the kernel cannot be compiled here; ``None`` if it can."""
    if sys.platform != "linux":
        return f"it is compiled on Linux only, and this is {sys.platform}"
    words = _words("CXX")
    if shutil.which(words[0] if words else "g++") is None:
        given = f"CXX is {os.environ['CXX']!r}, and {words[0]}" if words else "g++"
        return f"there is no C++ compiler: {given} is not found (on Debian: apt-get install g++)"
    return None


def kernel_version() -> str:
    """Changes with the kernel's sources, its flags, torch and this processor's instructions."""
    sources = (*_sources(), *sorted(_FOLDER.glob("*.h")))
    parts = [path.read_bytes() for path in sources]
    parts.append(shlex.join((*_FLAGS, *_words("CXXFLAGS"), torch.__version__)).encode())
    return f"{_digest(b''.join(parts))}-{_digest(_processor())}"


def compiler_version() -> str | None:
    """Changes with the compiler; ``None`` without one, or if it does not say its version."""
    return None if compiler_missing() else _version_of(tuple(_words("CXX") or ["g++"]))


@functools.cache
def _version_of(command: tuple[str, ...]) -> str | None:
    try:
        said = subprocess.run([*command, "--version"], check=True, capture_output=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return _digest(said)


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
    """Whether the processor adds products of int8."""
    return b"avx512_vnni" in _processor().split()


def has_int8_layers() -> bool:
    """Whether the kernel has linear layers of int8 weights for the processor."""
    return has_int8_products() or b"avx2" in _processor().split()


def compile_kernel(path: Path, *flags: str) -> None:
    """Write the kernel as a shared library, with further ``flags`` if there are any.

    Raises:
        ConfigError: if that fails, with what the compiler said.
    """
    # Not imported where the kernel is there already: it takes a while.
    torch_files: Any = importlib.import_module("torch.utils.cpp_extension")
    # The user's options first, so that they find files and do not undo the flags.
    command = [*compiler_command(), *_FLAGS, *flags, *map(str, _sources()), "-o", str(path)]
    command += [f"-I{folder}" for folder in torch_files.include_paths()]
    command += [f"-L{folder}" for folder in torch_files.library_paths()]
    command += ["-ltorch_cpu", "-lc10"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise ConfigError(
            f"the C++ compiler {shlex.join(compiler_command())} cannot compile the kernel: "
            f"{said.strip()[-2000:]}; expected g++ 9 or newer, or name another in CXX; backend "
            "openvino needs none"
        ) from error
