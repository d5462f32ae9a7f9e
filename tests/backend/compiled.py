"""Compiled small encoders, made once for all tests."""

import functools
import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from echostream.backend import (
    CompiledEncoder,
    installed_backends,
    make_backend,
)
from echostream.backend.graph import ChunkGraph
from echostream.backend.openvino_engine import export_onnx
from echostream.encoder.zipformer import ZipformerEncoder
from tests import shared
from tests.encoder.small_encoder import noise, randomise, small_encoder

CHUNKINGS: dict[int, dict[str, Any]] = {
    4: {"chunk_size": 16, "left_context": 32, "max_future_frames": None},
    0: {"chunk_size": 8, "left_context": 0, "max_future_frames": 0},
}
"""By the encoder's memory size; every further chunking is a further graph to compile."""
CHUNKING = CHUNKINGS[4]


def export_once(graph: ChunkGraph, path: Path) -> None:
    """The file of an equal graph if there was one: exporting takes most of these tests' time."""
    shapes = [tuple(tensor.shape) for tensor in graph.example()]
    described = f"{graph.encoder.fingerprint()} {graph.packing} {shapes} {graph._view.frames}"
    key = hashlib.sha256(described.encode()).hexdigest()
    made = shared.made_once(f"export-{key}", lambda folder: export_onnx(graph, folder / "graph"))
    shutil.copyfile(made / "graph", path)


def needs_openvino() -> None:
    """Skips the test where it is missing."""
    if "openvino" not in installed_backends():
        pytest.skip("OpenVINO is not installed: pip install 'echostream[backends]'")


@functools.cache
def compiled(memory_size: int = 4) -> CompiledEncoder:
    """By OpenVINO; skips the test where it is missing."""
    needs_openvino()
    cache = shared.made_once("graphs", lambda folder: None)
    encoder = make_backend(small_encoder(memory_size, torch.float32), "openvino", cache=cache)
    assert isinstance(encoder, CompiledEncoder)
    return encoder


@functools.cache
def wide_encoder() -> ZipformerEncoder:
    """As small as can be with layers wide enough to be rounded to int8."""
    encoder = ZipformerEncoder(
        input_dim=40,
        embed_dim=64,
        num_heads=2,
        ffn_dim=96,
        num_layers_per_stack=1,
        memory_size=0,
        max_future_frames=None,
        stem_channels=(2, 4, 8),
        left_context=32,
    )
    randomise(encoder)
    return encoder.eval().requires_grad_(False)


def error_of_int8(backend: str, cache: Path | None = None) -> float:
    """Relative to torch's frames."""
    encoder = wide_encoder()
    rounded = make_backend(encoder, backend, precision="int8", cache=cache)
    features = noise(1, 200, 40, dtype=torch.float32)
    expected = encoder(features)["encoder_out"]
    y, _, _ = rounded.step(features, rounded.init_state(), is_final=True)
    return float((y - expected).square().mean().sqrt() / expected.square().mean().sqrt())
