"""Where a verification ran."""

from __future__ import annotations

import importlib.metadata
import os
import platform

import torch

import echostream
from echostream.machine import processor_name

_PACKAGES = ("torch", "numpy", "soxr", "openvino", "onnxruntime", "onnx")


def versions() -> dict[str, str]:
    """Python's and the versions of what computes, as far as it is installed."""
    found = {"echostream": echostream.__version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, str | int]:
    """System, processor, cores to be used, threads of torch."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor_name(),
        "cores": os.cpu_count() or 1,
        "torch_threads": torch.get_num_threads(),
    }
