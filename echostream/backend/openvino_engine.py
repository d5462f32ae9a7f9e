"""The graph in OpenVINO, by way of an ONNX file.

Symbols: ``O`` outputs and ``I`` inputs of a linear layer.

int8 stores the weights of linear layers as signed bytes with one scale for each output. Where the
processor multiplies bytes, OpenVINO also rounds the inputs of a layer to bytes as it goes, a group
of them with one scale; elsewhere only the reading of weights gets cheaper.
"""

import importlib
import importlib.metadata
import importlib.util
import tempfile
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from echostream.backend.graph import ChunkGraph
from echostream.kernel import quantise_int8

_OPSET = 17
_SMALLEST_SIDE = 32
"""Weights narrower than this stay in float32: there is little to save."""
_INPUT_GROUP = 64
"""Inputs of a linear layer that share a scale."""
SETTINGS: dict[str, Any] = {
    # By itself it would compute in bfloat16 where the processor can.
    "INFERENCE_PRECISION_HINT": "f32",
    "NUM_STREAMS": 1,
    "PERFORMANCE_HINT": "LATENCY",
    "ENABLE_CPU_PINNING": False,
}
"""Of every compiled graph."""


class OpenVinoEngine:
    """A compiled graph; calls from several threads wait for each other."""

    def __init__(self, path: Path, precision: str, threads: int) -> None:
        openvino: Any = importlib.import_module("openvino")

        self._tensor = openvino.Tensor
        settings = SETTINGS | {"INFERENCE_NUM_THREADS": threads}
        if precision == "int8":
            settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = _INPUT_GROUP
        compiled = openvino.Core().compile_model(path, "CPU", settings)
        self._request = compiled.create_infer_request()
        self._shapes = [tuple(output.shape) for output in compiled.outputs]
        self._lock = threading.Lock()

    def run(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """See :class:`echostream.backend.graph.Engine`."""
        results = tuple(torch.empty(shape, dtype=torch.float32) for shape in self._shapes)
        with self._lock:
            # OpenVINO reads this memory without keeping it alive, so copies must have a name.
            given = [tensor.contiguous() for tensor in inputs]
            for index, tensor in enumerate(given):
                self._request.set_input_tensor(index, self._shared(tensor))
            for index, tensor in enumerate(results):
                self._request.set_output_tensor(index, self._shared(tensor))
            self._request.infer()
        return results

    def _shared(self, tensor: Tensor) -> Any:
        return self._tensor(tensor.numpy(), shared_memory=True)


class OpenVino:
    """See :class:`echostream.backend.graph.EngineKind`."""

    name = "openvino"
    file_name = "graph.xml"
    precisions: tuple[str, ...] = ("float32", "int8")
    at_once = True

    def version(self) -> str | None:
        """See :class:`echostream.backend.graph.EngineKind`."""
        if importlib.util.find_spec("openvino") is None:
            return None
        return importlib.metadata.version("openvino")

    def export(self, graph: ChunkGraph, precision: str, folder: Path) -> None:
        """See :class:`echostream.backend.graph.EngineKind`."""
        openvino: Any = importlib.import_module("openvino")

        # Not by openvino.convert_model, which reports its use over the network.
        with tempfile.TemporaryDirectory(prefix="echostream-") as temporary:
            path = Path(temporary) / "graph.onnx"
            export_onnx(graph, path)
            model = openvino.Core().read_model(path)
            if precision == "int8":
                _quantise_weights(model)
            openvino.serialize(model, folder / self.file_name)

    def load(self, folder: Path, precision: str, threads: int) -> OpenVinoEngine:
        """See :class:`echostream.backend.graph.EngineKind`."""
        return OpenVinoEngine(folder / self.file_name, precision, threads)


@torch.no_grad()
def export_onnx(graph: ChunkGraph, path: Path) -> None:
    """Trace the graph and write it."""
    example = graph.example()
    with warnings.catch_warnings():
        # That shapes become constants is meant: a graph is for one set of shapes. And torch calls
        # its exporter of traced graphs old; the new one needs another package.
        warnings.simplefilter("ignore")
        torch.onnx.export(graph, example, str(path), dynamo=False, opset_version=_OPSET)


def _quantise_weights(model: Any) -> None:
    """Replace the weights of linear layers by bytes times scales."""
    types: Any = importlib.import_module("openvino").Type
    opset: Any = importlib.import_module("openvino.opset13")

    for operation in model.get_ordered_ops():
        if operation.get_type_name() != "MatMul":
            continue
        source = operation.input_value(1).get_node()
        if source.get_type_name() != "Constant" or len(source.shape) != 2:
            continue
        if min(source.shape) < _SMALLEST_SIDE:
            continue
        # [O, I], or [I, O] where the layer multiplies from the other side.
        inputs_axis = 1 if operation.get_attributes()["transpose_b"] else 0
        values, scales = quantise_int8(np.asarray(source.data, np.float32), inputs_axis)
        bytes_ = opset.convert(opset.constant(values, types.i8), types.f32)
        product = opset.multiply(bytes_, opset.constant(scales))
        operation.input(1).replace_source_output(product.output(0))
