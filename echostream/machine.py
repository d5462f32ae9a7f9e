"""Who computed something: versions, the machine, and what this process takes of it."""

import importlib.metadata
import os
import platform
from pathlib import Path

import torch

import echostream

_PACKAGES = ("torch", "numpy", "soxr", "openvino", "onnx")


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
    """System, processor, cores to be used, threads of torch, and the GPU if there is one."""
    found: dict[str, str | int] = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor_name(),
        "cores": os.cpu_count() or 1,
        "torch_threads": torch.get_num_threads(),
    }
    return found | ({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})


def processor_name() -> str:
    """The processor's model, or at least its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def resident_bytes(process: int | str = "self") -> int:
    """Resident set of a process, this one by default; 0 where the system does not say."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
