"""Linear layers of a few rows, from weights that lie in the order in which they are read.

Symbols: ``M`` rows, ``K`` inputs, ``N`` outputs.

A stream reads every weight for each chunk and multiplies it with 2 to 16 rows, so the time goes
into reading, which general matrix products are not made for; the kernel in ``panel_linear.cpp`` is.
The weights of all layers lie in one tensor, in huge pages where there are any.
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
from echostream.backend.rounding import to_bytes
from echostream.errors import ConfigError

PANEL = 32
"""Outputs that are computed side by side."""
_SOURCE = Path(__file__).with_suffix(".cpp")
_FLAGS = (
    *("-O3", "-march=native", "-fopenmp", "-shared", "-fPIC", "-std=c++17"),
    # Not -ffast-math: of that, some compilers make a library that flushes denormal numbers to zero
    # in whatever loads it.
    *("-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"),
)
GROUP = 64
"""Inputs that are rounded to bytes with one scale."""


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


@torch.library.custom_op("echostream::panel_linear_of_bytes", mutates_args=())
def panel_linear_of_bytes(x: Tensor, weights: Tensor, offset: int, outputs: int) -> Tensor:
    """As :func:`panel_linear`, of weights in bytes; inputs are rounded to bytes too."""
    missing = -x.shape[1] % GROUP
    inputs = x.shape[1] + missing
    padded = -(-outputs // PANEL) * PANEL
    quarters, scales, bias = weights[offset : offset + padded * (inputs // 4 + 2)].split(
        (padded * inputs // 4, padded, padded)
    )
    stored = quarters.contiguous().view(torch.uint8).view(-1, inputs // 4, PANEL, 4).float() - 128
    weight = stored.transpose(1, 2).reshape(padded, -1, GROUP)
    groups = functional.pad(x, (0, missing)).view(len(x), -1, GROUP)
    steps = groups.abs().amax(dim=2, keepdim=True).clamp(min=1e-30) / 127
    products = torch.einsum("mgk,ngk->mng", (groups / steps).round(), weight)
    y = (products * steps.transpose(1, 2)).sum(2) * scales + bias
    return y[:, :outputs].contiguous()


def _result_like(x: Tensor, weights: Tensor, offset: int, outputs: int) -> Tensor:
    return x.new_empty(x.shape[0], outputs)


panel_linear.register_fake(_result_like)
panel_linear_of_bytes.register_fake(_result_like)


C_DECLARATIONS = {
    operator: [
        f"AOTITorchError aoti_torch_cpu_{operator.name().partition('::')[2]}(AtenTensorHandle x, "
        "AtenTensorHandle weights, int64_t offset, int64_t outputs, AtenTensorHandle* result)"
    ]
    for operator in (
        torch.ops.echostream.panel_linear.default,
        torch.ops.echostream.panel_linear_of_bytes.default,
    )
}
"""How compiled graphs call the kernels."""


def in_panels(weight: Tensor, bias: Tensor | None) -> Tensor:
    """``[N, K]`` and ``[N]`` as the kernel reads them, one after the other: a flat tensor."""
    outputs, inputs = weight.shape
    missing = -outputs % PANEL
    panels = functional.pad(weight, (0, 0, 0, missing)).view(-1, PANEL, inputs).transpose(1, 2)
    end = weight.new_zeros(outputs) if bias is None else bias
    return torch.cat((panels.reshape(-1), functional.pad(end, (0, missing))))


def in_panels_of_bytes(weight: Tensor, bias: Tensor | None) -> Tensor:
    """As :func:`in_panels`, with bytes, four in a float32, and the scale of each output."""
    outputs, inputs = weight.shape
    rounded, scales = to_bytes(weight.numpy(), 1)
    missing = -outputs % PANEL
    padded = functional.pad(torch.from_numpy(rounded), (0, -inputs % GROUP, 0, missing))
    # Of two bytes that are multiplied, one must be unsigned.
    stored = (padded.to(torch.int16) + 128).to(torch.uint8)
    panels = stored.view(-1, PANEL, padded.shape[1] // 4, 4).transpose(1, 2).reshape(-1)
    end = weight.new_zeros(outputs) if bias is None else bias
    columns = (torch.from_numpy(scales).flatten(), end)
    return torch.cat(
        (panels.view(torch.float32), *(functional.pad(column, (0, missing)) for column in columns))
    )


class PanelWeights:
    """The linear layers of a module in one flat tensor.

    Args:
        module: whose layers.
        precision: ``float32``, or ``int8`` for bytes.
    """

    def __init__(self, module: nn.Module, precision: str = "float32") -> None:
        self.linear = panel_linear if precision == "float32" else panel_linear_of_bytes
        """What computes a layer from them."""
        arrange = in_panels if precision == "float32" else in_panels_of_bytes
        self._offsets: dict[int, int] = {}
        pieces = []
        end = 0
        for layer in module.modules():
            if isinstance(layer, nn.Linear) and id(layer.weight) not in self._offsets:
                self._offsets[id(layer.weight)] = end
                pieces.append(arrange(layer.weight.detach(), _detached(layer.bias)))
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
                y = self._panels.linear(rows, self._weights, offset, outputs)
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
        self.library = Kernel._library

    def set_threads(self, count: int) -> None:
        """For the graphs that the calling thread runs from now on."""
        self.library.echostream_linear_threads(ctypes.c_int(count))


def multiplies_bytes() -> bool:
    """Whether the processor has the instructions for weights in bytes."""
    return b"avx512_vnni" in _processor().split()


def load_weights(path: Path) -> Tensor:
    """A file of float32 numbers as a flat tensor."""
    weights = in_huge_pages(path.stat().st_size // 4)
    with path.open("rb") as file:
        file.readinto(weights.numpy())  # type: ignore[arg-type]
    return weights
