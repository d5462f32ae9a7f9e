"""The graph in ONNX Runtime.

int8 is the runtime's own dynamic quantisation of linear layers: weights as signed bytes, one scale
for each output, and inputs rounded as they come. Weights use seven bits, because processors without
instructions for byte products add pairs of them in sixteen bits, which eight would overflow.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from echostream.backend.graph import ChunkGraph
from echostream.backend.onnx_export import export_onnx


class OnnxRuntimeEngine:
    """A session; it may be called from several threads."""

    def __init__(self, path: Path, threads: int) -> None:
        onnxruntime: Any = importlib.import_module("onnxruntime")

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )

        self._inputs = [given.name for given in self._session.get_inputs()]

    def run(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """See :class:`echostream.backend.engine.Engine`."""
        given = {name: x.numpy() for name, x in zip(self._inputs, inputs, strict=True)}
        return tuple(torch.from_numpy(result) for result in self._session.run(None, given))


class OnnxRuntime:
    """See :class:`echostream.backend.engine.EngineKind`."""

    name = "onnxruntime"
    file_name = "graph.onnx"
    precisions: tuple[str, ...] = ("float32", "int8")
    at_once = True

    def version(self) -> str | None:
        """See :class:`echostream.backend.engine.EngineKind`."""
        packages = ("onnxruntime", "onnx")
        if any(importlib.util.find_spec(package) is None for package in packages):
            return None
        return "-".join(importlib.metadata.version(package) for package in packages)

    def mixes_streams(self, precision: str) -> bool:
        """See :class:`echostream.backend.engine.EngineKind`.

        Dynamic quantisation has one scale for all inputs of a layer, so that beside a loud stream
        little would be left of a quiet one.
        """
        return precision == "int8"

    def export(self, graph: ChunkGraph, precision: str, folder: Path) -> None:
        """See :class:`echostream.backend.engine.EngineKind`."""
        path = folder / self.file_name
        export_onnx(graph, path)
        if precision == "int8":
            _quantise(path)

    def load(self, folder: Path, precision: str, threads: int) -> OnnxRuntimeEngine:
        """See :class:`echostream.backend.engine.EngineKind`."""
        return OnnxRuntimeEngine(folder / self.file_name, threads)


def _quantise(path: Path) -> None:
    quantization: Any = importlib.import_module("onnxruntime.quantization")

    root = logging.getLogger()
    level = root.level
    # It recommends, through the root logger, a preparation that has nothing to do here.
    root.setLevel(logging.ERROR)
    try:
        quantization.quantize_dynamic(
            path,
            path,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            op_types_to_quantize=["MatMul"],
        )
    finally:
        root.setLevel(level)
