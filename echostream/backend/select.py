"""From the names of a backend and a precision to an encoder."""

from __future__ import annotations

from pathlib import Path

from echostream.backend.compiled_encoder import CompiledEncoder
from echostream.backend.engine import EngineKind
from echostream.backend.onnxruntime_engine import OnnxRuntime
from echostream.backend.openvino_engine import OpenVino
from echostream.encoder.zipformer import ZipformerEncoder
from echostream.errors import ConfigError

_KINDS: dict[str, EngineKind] = {kind.name: kind for kind in (OpenVino(), OnnxRuntime())}
"""Fastest first, as measured at one thread and 320 ms chunks."""

BACKENDS = ("torch", *_KINDS, "auto")
PRECISIONS = ("float32", "int8")


def installed_backends() -> tuple[str, ...]:
    """The backends that can be used here, fastest first."""
    return (*(name for name, kind in _KINDS.items() if kind.version() is not None), "torch")


def make_backend(
    encoder: ZipformerEncoder,
    backend: str = "torch",
    *,
    precision: str = "float32",
    threads: int = 1,
    cache: Path | None = None,
) -> ZipformerEncoder | CompiledEncoder:
    """The encoder in the chosen backend; with ``torch`` the encoder itself.

    Args:
        encoder: in evaluation mode.
        backend: one of ``BACKENDS``; ``auto`` is the fastest that is installed and can run where
            the encoder is.
        precision: one of ``PRECISIONS``.
        threads: for one chunk; ``torch`` has a setting of its own for the whole process.
        cache: folder for exported graphs.

    Raises:
        ConfigError: for an unknown name, a package that is missing, or int8 in torch.
    """
    for name, value, known in (
        ("backend", backend, BACKENDS),
        ("precision", precision, PRECISIONS),
    ):
        if value not in known:
            raise ConfigError(f"{name} is {value!r}; expected one of {', '.join(known)}")
    if threads < 1:
        raise ConfigError(f"threads is {threads}; expected a number from 1 on")
    if backend == "auto":
        on_cpu = encoder.stem.norm.bias.device.type == "cpu"
        backend = installed_backends()[0] if on_cpu else "torch"
    if backend == "torch":
        if precision != "float32":
            raise ConfigError(
                f"precision is {precision!r} with backend torch, which has float32 only; use "
                "openvino or onnxruntime (pip install 'echostream[backends]')"
            )
        return encoder
    kind = _KINDS[backend]
    if kind.version() is None:
        raise ConfigError(
            f"backend {backend} is not installed; pip install 'echostream[backends]', or choose "
            f"one of {', '.join(installed_backends())}"
        )
    return CompiledEncoder(encoder, kind, precision=precision, threads=threads, cache=cache)
