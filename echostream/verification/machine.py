"""Where a verification ran."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

import torch

import echostream

_PACKAGES = ("torch", "numpy", "soxr", "kaldi-native-fbank", "openvino", "onnxruntime", "onnx")


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
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "torch_threads": torch.get_num_threads(),
    }


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else platform.processor()
