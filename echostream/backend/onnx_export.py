"""The graph of one chunk as an ONNX file, the one form that every engine starts from."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from echostream.backend.graph import ChunkGraph

_OPSET = 17


@torch.no_grad()
def export_onnx(graph: ChunkGraph, path: Path) -> None:
    """Trace the graph and write it."""
    example = graph.example()
    with warnings.catch_warnings():
        # That shapes become constants is meant: a graph is for one set of shapes. And torch calls
        # its exporter of traced graphs old; the new one needs another package.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph,
            example,
            str(path),
            dynamo=False,
            opset_version=_OPSET,
            input_names=list(graph.input_names),
            output_names=list(graph.output_names),
        )
