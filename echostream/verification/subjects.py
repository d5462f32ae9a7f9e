"""What is verified: the encoder in each backend and precision, each with what it must equal.

torch in float64 tells an error of the method from rounding, and how much of that there is in
float32. A compiled encoder in float32 must equal the model's own ``forward``; one in int8 computes
something a little different, so it must equal itself: the same stream pushed whole.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from echostream.backend import in_int8, installed_backends, make_backend, precisions_of
from echostream.constants import PRECISIONS as COMPILED_PRECISIONS
from echostream.encoder.state import State
from echostream.errors import ConfigError
from echostream.model import SpeechModel
from echostream.verification.recorder import ENCODER_OUTPUT, Frames, Recorder
from echostream.verification.settings import PRECISIONS

TORCH_PRECISIONS = ("float64", "float32")

_FLOAT64_FACTOR = 1e-5
_COMPILED_FACTOR = 4.0
"""Another implementation of the same arithmetic rounds otherwise, and some models make much of it
in the first frames of a recording, where there is little to attend to."""


def _compiled_backends() -> tuple[str, ...]:
    return tuple(name for name in installed_backends() if name != "torch")


def _slow_backends() -> tuple[str, ...]:
    every = installed_backends(at_once=False)
    return tuple(name for name in every if name not in installed_backends())


@dataclass(frozen=True, eq=False)
class Backends:
    """The backends there are besides torch; by default those of :mod:`echostream.backend`."""

    installed: tuple[str, ...] = field(default_factory=_compiled_backends)
    precisions: tuple[str, ...] = COMPILED_PRECISIONS
    make: Callable[..., Any] = make_backend
    """Takes what :func:`echostream.backend.make_backend` takes."""
    slow: tuple[str, ...] = field(default_factory=_slow_backends)
    """Each of their graphs takes a minute to make; verified where they are asked for by name."""

    @classmethod
    def fastest(cls) -> Backends:
        """The fastest one in float32."""
        return cls(_compiled_backends()[:1], precisions=("float32",))


@dataclass(frozen=True, eq=False)
class Subject:
    """One encoder to verify."""

    backend: str
    precision: str
    model: SpeechModel
    """In torch; what ``encoder`` was made from."""
    encoder: Any
    """Streams: ``init_state`` and ``step`` as those of the model's encoder."""
    streaming: Mapping[str, Any] = field(default_factory=dict)
    """More arguments of ``init_state``."""

    @property
    def name(self) -> str:
        """As it is printed."""
        return " ".join((self.backend, self.precision, *map(str, self.streaming.values())))

    @property
    def tolerance_factor(self) -> float:
        """Times the tolerance that was asked for."""
        if self.precision == "float64":
            return _FLOAT64_FACTOR
        # Not int8, which is compared with itself.
        compiled = self.backend != "torch" and self.precision == "float32"
        return _COMPILED_FACTOR if compiled else 1.0

    @property
    def is_torch(self) -> bool:
        """Whether the model itself streams, so that its modules can be watched."""
        return self.encoder is self.model.encoder and self.streaming.get("mode") != "recompute"

    @property
    def dtype(self) -> torch.dtype:
        """Of features and encoder frames."""
        return torch.float64 if self.precision == "float64" else torch.float32

    def init_state(self, batch_size: int, chunking: Mapping[str, Any]) -> Any:
        """Streams that have heard nothing."""
        return self.encoder.init_state(batch_size, **chunking, **self.streaming)

    def recorder(self, *, heads: bool = False) -> Recorder:
        """Watches the modules, if they can be watched."""
        return Recorder(
            self.model.encoder if self.is_torch else None, self.model if heads else None
        )

    @torch.no_grad()
    def offline(self, features: Tensor, chunking: Mapping[str, Any]) -> Frames:
        """What one recording, features ``[T, F]``, must give: by module, and in the state."""
        whole = features[None]
        if self.precision == "int8":
            start = self.init_state(1, chunking)
            y, _, _ = self.encoder.step(whole, start, is_final=True)
            found: Frames = {}
        else:
            with self.recorder() as recorder:
                y = self.model.encoder(whole, **chunking)["encoder_out"]
                found = recorder.take([(y.shape[1],)])
        carried = state_frames(self._state_after(whole, chunking))
        return {**found, **carried, ENCODER_OUTPUT: (y[0],)}

    @torch.no_grad()
    def rounding(
        self, features: Tensor, chunking: Mapping[str, Any], offline: Frames
    ) -> dict[str, float]:
        """How far ``offline`` of features ``[T, F]`` is from the same in float64, by module.

        Only where torch computes both in float32: rounding is then all that can differ. Activations
        of some models are hundreds of times as large as what comes out in the end, and leave their
        rounding in it.
        """
        if not self.is_torch or self.precision != "float32":
            return {}
        encoder = self._exact.encoder
        with Recorder(encoder, None) as recorder:
            y = encoder(features[None].double(), **chunking)["encoder_out"]
            exact = {**recorder.take([(y.shape[1],)]), ENCODER_OUTPUT: (y[0],)}
        return {
            name: largest_difference(frames[0], offline[name][0])
            for name, frames in exact.items()
            if name in offline
        }

    @cached_property
    def _exact(self) -> SpeechModel:
        return copy.deepcopy(self.model).double()

    def _state_after(self, features: Tensor, chunking: Mapping[str, Any]) -> State:
        """The state of the same stream pushed whole, before its end."""
        encoder: Any = self.encoder if self.precision == "int8" else self.model.encoder
        start = encoder.init_state(1, **chunking, **self.streaming)
        state: State = encoder.step(features, start)[2]
        return state


_COMPUTED = ("keys", "nonlinear_values", "values1", "conv1", "values2", "conv2")
"""What a Zipformer layer carries on, in the order in which it is computed."""


def state_frames(state: State) -> Frames:
    """What each stream carries on, by ``state.`` and the tensor's name, as far as audio decides it.

    How often and how the stream was pushed is left out.
    """
    tensors = [
        (name, tensor)
        for name, tensor in state.named_tensors()
        if name not in ("segment_id", "finished")
    ]
    owners: dict[str, int] = {}
    for name, _ in tensors:
        owners.setdefault(name.rpartition(".")[0], len(owners))

    def when(named: tuple[str, Tensor]) -> tuple[int, int]:
        owner, _, field_name = named[0].rpartition(".")
        place = _COMPUTED.index(field_name) if field_name in _COMPUTED else 0
        return owners[owner], place

    return {
        f"state.{name}": tuple(_by_row(row.double()) for row in rows)
        for name, rows in sorted(tensors, key=when)
    }


def subjects_of(
    model: SpeechModel,
    *,
    backend: str = "all",
    precision: str = "all",
    threads: int = 1,
    cache: Path | None = None,
    backends: Backends | None = None,
) -> tuple[Subject, ...]:
    """The encoders to verify; the compiled ones come last.

    Args:
        model: in evaluation mode, float32, on the CPU.
        backend: ``all`` but the slow ones, ``torch``, or a compiled one.
        precision: one of ``PRECISIONS``.
        threads: of a compiled encoder.
        cache: folder for exported graphs.
        backends: besides torch; ``None`` for those that are installed.

    Raises:
        ConfigError: if there is no such backend, or it has no such precision.
    """
    backends = Backends() if backends is None else backends
    known = ("torch", *backends.installed, *backends.slow)
    if backend not in ("all", *known):
        raise ConfigError(
            f"--backend is {backend!r}; expected all or one of those installed: {', '.join(known)}"
        )
    if precision not in PRECISIONS:
        raise ConfigError(f"--precision is {precision!r}; expected one of {', '.join(PRECISIONS)}")
    found = []
    for name in TORCH_PRECISIONS if backend in ("all", "torch") else ():
        if precision in ("all", name):
            found += _in_torch(model, name)
    if model.encoder.capabilities.compilable:
        for name in backends.installed if backend == "all" else (backend,):
            for kind in backends.precisions:
                if name in backends.slow and kind not in precisions_of(name):
                    continue
                if name != "torch" and precision in ("all", kind):
                    encoder = backends.make(
                        model.encoder, name, precision=kind, threads=threads, cache=cache
                    )
                    found.append(Subject(name, kind, model, encoder))
    wanted = backend in ("all", "torch") and precision in ("all", "int8")
    if wanted and model.encoder.capabilities.int8 and "int8" in backends.precisions:
        found.append(Subject("torch", "int8", model, in_int8(model.encoder)))
    if not found:
        raise ConfigError(
            f"backend {backend} has no precision {precision} for the encoder "
            f"{model.config.encoder.name}; leave out --backend or --precision"
        )
    return tuple(found)


def largest_difference(a: Tensor, b: Tensor) -> float:
    """Of tensors of one shape; 0 for empty ones and for those that are not finite."""
    largest = float((a - b).abs().max()) if a.numel() and a.shape == b.shape else 0.0
    return largest if math.isfinite(largest) else 0.0


def _by_row(row: Tensor) -> Tensor:
    """A counter as one frame of one number."""
    return row.reshape(1, 1) if row.dim() == 0 else row


def _in_torch(model: SpeechModel, precision: str) -> list[Subject]:
    if precision == "float64":
        model = copy.deepcopy(model).double()
    ways = [{"mode": mode} for mode in model.encoder.capabilities.modes] or [{}]
    return [Subject("torch", precision, model, model.encoder, way) for way in ways]
