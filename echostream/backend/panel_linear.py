"""Linear layers of a few rows, from weights that lie in the order in which they are read.

Symbols: ``M`` rows, ``K`` inputs, ``N`` outputs.

A stream reads every weight for each chunk and multiplies it with 2 to 16 rows, so the time goes
into reading. General matrix products read at a third to three quarters of the memory's speed here;
the kernel in ``panel_linear.cpp`` at nearly all of it. The weights of all layers lie in one tensor,
in huge pages where there are any.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils import cpp_extension

from echostream.backend.huge_pages import in_huge_pages
from echostream.errors import ConfigError

PANEL = 32
"""Outputs that are computed side by side."""
_SOURCE = Path(__file__).with_suffix(".cpp")
_FLAGS = ("-O3", "-march=native", "-ffast-math", "-fopenmp", "-shared", "-fPIC", "-std=c++17")
C_DECLARATION = (
    "AOTITorchError aoti_torch_cpu_panel_linear(AtenTensorHandle x, AtenTensorHandle weights, "
    "int64_t offset, int64_t outputs, AtenTensorHandle* result)"
)


@torch.library.custom_op("echostream::panel_linear", mutates_args=())
def panel_linear(x: Tensor, weights: Tensor, offset: int, outputs: int) -> Tensor:
    """The layer at ``offset`` in ``weights``: ``[M, K] -> [M, N]``.

    This says what is computed, and is what is traced; compiled graphs call the kernel.
    """
    inputs = x.shape[1]
    padded = -(-outputs // PANEL) * PANEL
    panels, bias = weights[offset : offset + padded * (inputs + 1)].split((padded * inputs, padded))
    weight = panels.view(-1, inputs, PANEL).transpose(1, 2).reshape(padded, inputs)
    return functional.linear(x, weight[:outputs], bias[:outputs])


@panel_linear.register_fake
def _(x: Tensor, weights: Tensor, offset: int, outputs: int) -> Tensor:
    return x.new_empty(x.shape[0], outputs)


def in_panels(weight: Tensor, bias: Tensor | None) -> Tensor:
    """``[N, K]`` and ``[N]`` as the kernel reads them, one after the other: a flat tensor."""
    outputs, inputs = weight.shape
    missing = -outputs % PANEL
    panels = functional.pad(weight, (0, 0, 0, missing)).view(-1, PANEL, inputs).transpose(1, 2)
    end = weight.new_zeros(outputs) if bias is None else bias
    return torch.cat((panels.reshape(-1), functional.pad(end, (0, missing))))


class PanelWeights:
    """The linear layers of a module in one flat tensor."""

    def __init__(self, module: nn.Module) -> None:
        self._offsets: dict[int, int] = {}
        pieces = []
        end = 0
        for layer in module.modules():
            if isinstance(layer, nn.Linear) and id(layer.weight) not in self._offsets:
                self._offsets[id(layer.weight)] = end
                pieces.append(in_panels(layer.weight.detach(), _detached(layer.bias)))
                end += pieces[-1].shape[0]
        self.flat = torch.cat(pieces)

    def offset(self, weight: Tensor) -> int | None:
        """Where a layer lies; ``None`` for what is no layer's weight."""
        return self._offsets.get(id(weight))


def _detached(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias.detach()


class PanelLinears(TorchFunctionMode):
    """While it is entered, linear layers are computed from ``weights``, as laid out in ``panels``.

    So the encoder's own code stays the only description of the model.
    """

    def __init__(self, panels: PanelWeights, weights: Tensor) -> None:
        super().__init__()
        self._panels = panels
        self._weights = weights

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is functional.linear:
            x, weight = args[:2]
            offset = self._panels.offset(weight)
            if offset is not None:
                outputs = weight.shape[0]
                rows = x.reshape(-1, x.shape[-1])
                y = panel_linear(rows, self._weights, offset, outputs)
                return y.view(*x.shape[:-1], outputs)
        return func(*args, **(kwargs or {}))


def compiler() -> str | None:
    """The C++ compiler that the kernel and graphs are compiled with; ``None`` without one."""
    return shutil.which(os.environ.get("CXX") or "g++")


def kernel_version() -> str:
    """Changes with the kernel's source and with the instructions that this processor has."""
    return f"{_digest(_SOURCE.read_bytes())}-{_digest(_processor())}"


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


def compile_kernel(path: Path) -> None:
    """Write the kernel as a shared library.

    Raises:
        ConfigError: if that fails, with what the compiler said.
    """
    command = [compiler() or "g++", *_FLAGS, str(_SOURCE), "-o", str(path)]
    command += [f"-I{folder}" for folder in cpp_extension.include_paths()]
    command += [f"-L{folder}" for folder in cpp_extension.library_paths()]
    command += ["-ltorch_cpu", "-lc10"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise ConfigError(
            f"the C++ compiler {command[0]} cannot compile {_SOURCE.name}: {said.strip()[-2000:]}; "
            "expected g++ 9 or newer, or name another in CXX; backend openvino needs none"
        ) from error


class Kernel:
    """The kernel, in this process for good: compiled graphs find it by its name.

    Args:
        path: from :func:`compile_kernel`; only the first that a process loads is used.
    """

    _library: ctypes.CDLL | None = None

    def __init__(self, path: Path) -> None:
        if Kernel._library is None:
            Kernel._library = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        self._set_threads = Kernel._library.echostream_linear_threads
        self._linear = Kernel._library.echostream_linear

    def set_threads(self, count: int) -> None:
        """For the graphs that the calling thread runs from now on."""
        self._set_threads(ctypes.c_int(count))

    def linear(self, x: Tensor, weights: Tensor, outputs: int) -> Tensor:
        """As :func:`panel_linear` at offset 0; contiguous float32 tensors on the CPU."""
        y = x.new_empty(x.shape[0], outputs)
        size = ctypes.c_int64
        pointers = (ctypes.c_void_p(tensor.data_ptr()) for tensor in (x, weights, y))
        given, layer, result = pointers
        self._linear(given, size(x.shape[0]), size(x.shape[1]), layer, size(outputs), result)
        return y


def load_weights(path: Path) -> Tensor:
    """A file of float32 numbers as a flat tensor."""
    weights = in_huge_pages(path.stat().st_size // 4)
    with path.open("rb") as file:
        file.readinto(weights.numpy())  # type: ignore[arg-type]
    return weights
