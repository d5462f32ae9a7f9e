"""The graph compiled ahead of time by torch's own compiler, Inductor.

Inductor makes C++ of all that lies between the matrix products, one pass over memory for what
eager torch does in ten, and linear layers run in the kernel of :mod:`echostream.kernel`. A C++
compiler must be there when a graph is made, which takes about a minute, and no longer afterwards.
"""

import importlib
import logging
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from echostream.backend.graph import ChunkGraph
from echostream.backend.inductor.graph_rewriting import (
    PackedWeights,
    TracedKernel,
    load_weights,
    rewritten,
)
from echostream.errors import ConfigError
from echostream.kernel import (
    NAMES,
    compile_kernel,
    compiler_command,
    compiler_missing,
    compiler_version,
    has_int8_products,
    kernel_version,
    load_kernel,
    tracing_with,
)

KERNEL, WEIGHTS = "kernel.so", "weights.bin"

_LARGEST_BLOCK = (32 << 20) - 4096
"""Bytes; larger ones do not count for the C library."""

_log = logging.getLogger(__name__)


class InductorEngine:
    """A compiled graph; calls from several threads wait for each other.

    It runs in a thread of its own, whose memory the C library keeps apart: in the heap of a process
    that has been loading models, finding room for hundreds of intermediate results takes long.
    """

    def __init__(self, folder: Path, threads: int) -> None:
        self._kernel = load_kernel(folder / KERNEL)
        self._threads = threads
        self._weights = load_weights(folder / WEIGHTS)
        # torch's public loader also compiles a few test programs, at every start.
        runner: Any = torch._C._aoti.AOTIModelContainerRunnerCpu
        self._graph = runner(str(folder / Inductor.file_name), 1)
        self._start()

    def _start(self) -> None:
        _keep_freed_memory()
        self._process = os.getpid()
        self._worker = ThreadPoolExecutor(1, "echostream-inductor")

    def run(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """See :class:`echostream.backend.graph.Engine`."""
        if self._process != os.getpid():  # After a fork the thread is only in the parent.
            self._start()
        return self._worker.submit(self._run, inputs).result()

    def _run(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        self._kernel.set_threads(self._threads)
        with torch.no_grad():
            given = [tensor.contiguous() for tensor in inputs]
            return tuple(self._graph.run([self._weights, *given]))


def _keep_freed_memory() -> None:
    """Let the C library keep what a chunk has freed for the next chunk.

    It gives back to the system what is more than twice the largest block that it ever got back, and
    the system hands pages out again one by one, which takes long.
    """
    torch.empty(_LARGEST_BLOCK // 4, dtype=torch.float32)


class Inductor:
    """See :class:`echostream.backend.graph.EngineKind`."""

    name = "inductor"
    file_name = "graph.so"
    at_once = False

    @property
    def precisions(self) -> tuple[str, ...]:
        """See :class:`echostream.backend.graph.EngineKind`."""
        return ("float32", "int8") if has_int8_products() else ("float32",)

    def version(self) -> str | None:
        """See :class:`echostream.backend.graph.EngineKind`; torch's own stands beside it."""
        return None if compiler_missing() else f"{kernel_version()}-{compiler_version()}"

    @torch.no_grad()
    def export(self, graph: ChunkGraph, precision: str, folder: Path) -> None:
        """See :class:`echostream.backend.graph.EngineKind`."""
        inductor: Any = importlib.import_module("torch._inductor")

        _log.warning("compiling a graph with torch's Inductor; this takes about a minute, once")
        compile_kernel(folder / KERNEL)
        load_kernel(folder / KERNEL)
        example = graph.example()
        packed = PackedWeights(graph, precision)
        packed.flat.numpy().tofile(folder / WEIGHTS)

        def from_weights(weights: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
            with tracing_with(TracedKernel(packed, weights)):
                results: tuple[Tensor, ...] = graph(*inputs)
            return results

        inputs = (packed.flat, *example)
        recorded = rewritten(make_fx(from_weights)(*inputs))
        traced = torch.export.export(recorded, inputs).module()
        try:
            with _settings():
                shutil.copyfile(inductor.aot_compile(traced, inputs), folder / self.file_name)
        except (RuntimeError, OSError) as error:
            raise ConfigError(
                f"torch's Inductor cannot compile the encoder here: {str(error)[-2000:]}; use "
                "another backend (pip install 'echostream[backends]')"
            ) from error

    def load(self, folder: Path, precision: str, threads: int) -> InductorEngine:
        """See :class:`echostream.backend.graph.EngineKind`."""
        return InductorEngine(folder, threads)


@contextmanager
def _settings() -> Iterator[None]:
    """Inductor's settings while it compiles, and a folder that is gone afterwards."""
    config: Any = importlib.import_module("torch._inductor.config")
    cache: Any = importlib.import_module("torch._inductor.utils")

    changes = {
        "freezing": True,  # Weights that are left become constants.
        "compile_threads": 1,
        # What is between the layers is too little to be shared out; layers have their own threads.
        "cpp.threads": 1,
        # They leave whole loops scalar, of which the stem's activation is a slow one.
        "cpp.enable_tiling_heuristics": False,
        "aot_inductor.precompile_headers": False,  # They would be left behind.
        "aot_inductor.custom_ops_to_c_shims": _c_declarations(),
    }
    # Around Inductor's own folder, which is kept when it fails.
    with tempfile.TemporaryDirectory(prefix="echostream-") as temporary:
        compiler = compiler_command()
        if len(compiler) > 1:  # Inductor takes the name of a program, and no options.
            changes["cpp.cxx"] = (_script(compiler, Path(temporary) / "c++"),)
        with cache.fresh_cache(dir=temporary), config.patch(changes):
            yield


def _script(command: list[str], path: Path) -> str:
    path.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def _c_declarations() -> dict[Any, list[str]]:
    """How compiled graphs call the kernel's operations; see operation.h."""
    types = {
        "Tensor": "AtenTensorHandle {}",
        "List[Tensor]": "const AtenTensorHandle* {0}, int64_t {0}_len",
        "int": "int64_t {}",
        "List[int]": "const int64_t* {0}, int64_t {0}_len",
    }
    declarations = {}
    for name in NAMES:
        operation = getattr(torch.ops.echostream, name).default
        given = ", ".join(
            types[str(argument.type)].format(argument.name)
            for argument in operation._schema.arguments
        )
        declarations[operation] = [
            f"AOTITorchError aoti_torch_cpu_{name}({given}, AtenTensorHandle* result)"
        ]
    return declarations
