"""From the names of a backend and a precision to an encoder."""

from pathlib import Path
from typing import Any

from echostream.backend.cache import graphs_of, holds_graph
from echostream.backend.compiled_encoder import CompiledEncoder
from echostream.backend.graph import EngineKind
from echostream.backend.inductor import Inductor
from echostream.backend.openvino_engine import OpenVino
from echostream.constants import BACKENDS, PRECISIONS
from echostream.encoder.zipformer import ZipformerEncoder
from echostream.errors import ConfigError

_ENGINES: tuple[EngineKind, ...] = (Inductor(), OpenVino())
"""Fastest first, as measured at one thread and 320 ms chunks."""
_KINDS = {kind.name: kind for kind in _ENGINES}

_GET = {
    "inductor": "it needs a C++ compiler on Linux (on Debian: apt-get install g++)",
    "openvino": "pip install 'echostream[backends]'",
}


def installed_backends(*, at_once: bool = True) -> tuple[str, ...]:
    """The backends that can be used here, fastest first.

    Args:
        at_once: only those whose graphs are made in seconds.
    """
    kinds = (kind for kind in _KINDS.values() if kind.at_once or not at_once)
    return (*(kind.name for kind in kinds if kind.version() is not None), "torch")


def precisions_of(backend: str) -> tuple[str, ...]:
    """What a backend computes in, of ``PRECISIONS``."""
    return ("float32",) if backend == "torch" else _KINDS[backend].precisions


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
        backend: one of ``BACKENDS``; ``auto`` is the fastest that is installed, has the precision
            and can run where the encoder is. Inductor, which takes a minute to compile, it is only
            where ``cache`` has graphs of this encoder from before.
        precision: one of ``PRECISIONS``.
        threads: for one chunk; ``torch`` has a setting of its own for the whole process.
        cache: folder for exported graphs.

    Raises:
        ConfigError: for an unknown name, what a backend needs and is missing, or a precision that
            it lacks.
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
        backend = _fastest(encoder, precision, cache)
    if precision not in precisions_of(backend):
        raise ConfigError(
            f"precision is {precision!r} with backend {backend}, which has float32 only here; use "
            "openvino (pip install 'echostream[backends]')"
        )
    if backend == "torch":
        return encoder
    kind = _KINDS[backend]
    if kind.version() is None:
        raise ConfigError(
            f"backend {backend} is not installed; {_GET[backend]}, or choose one of "
            f"{', '.join(installed_backends())}"
        )
    return CompiledEncoder(encoder, kind, precision=precision, threads=threads, cache=cache)


def in_int8(encoder: Any) -> Any:
    """An encoder that is not compiled, with int8 weights in torch and the project's kernel.

    Raises:
        ConfigError: if it has no such form.
    """
    if not encoder.capabilities.int8:
        raise ConfigError(
            f"--precision int8 was given, but {type(encoder).__name__} has float32 only; expected "
            "--precision float32"
        )
    return encoder.in_int8()


def _fastest(encoder: ZipformerEncoder, precision: str, cache: Path | None) -> str:
    if encoder.stem.norm.bias.device.type != "cpu":
        return "torch"
    for kind in _ENGINES:
        if kind.version() is None or precision not in kind.precisions:
            continue
        if kind.at_once:
            return kind.name
        if cache is not None and holds_graph(
            cache, graphs_of(kind, encoder.fingerprint(), precision)
        ):
            return kind.name
    return "torch"
