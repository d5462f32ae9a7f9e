"""What each module of a model computes, in a stream and offline, aligned in time.

Symbols: ``B`` streams, ``N`` chunks of one call, ``S`` frames of a chunk at the module's rate,
``n`` frames of one stream at the module's rate, ``D`` encoder frames for each of those, ``H``
heads, ``W`` frames of an attention window, ``C`` whatever a module gives for a frame.

A stream calls each module once for every chunk, ``forward`` calls it once with all chunks. Both
give their frames in the order of time, so what is to be compared lies at the same place once the
frames after a stream's end are cut off and the chunks are joined.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from echostream.encoder.attention import AttentionWeights
from echostream.encoder.protocol import Encoder, watched_modules
from echostream.model import SpeechModel

ENCODER_OUTPUT = "encoder"

Frames = dict[str, tuple[Tensor, ...]]
"""By module, in the order of computation: for each stream ``[n, C]``."""


class Recorder:
    """Records the outputs of an encoder's modules and of a model's heads while it is entered.

    Args:
        encoder: to watch, if any.
        model: whose heads to watch, if any, and what they are given as ``encoder``.
    """

    def __init__(self, encoder: Encoder | None, model: SpeechModel | None = None) -> None:
        self._watched = {} if encoder is None else watched_modules(encoder)
        self._heads: dict[str, nn.Module] = (
            {} if model is None else {f"{name}_head": head for name, head in model.heads.items()}
        )
        self._pooled = {name: watched.pooled for name, watched in self._watched.items()}
        self._outputs: dict[str, list[Any]] = {}
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        modules = {name: watched.module for name, watched in self._watched.items()} | self._heads
        for name, module in modules.items():
            self._handles.append(module.register_forward_hook(self._hook(name)))
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def take(self, calls: Sequence[Sequence[int]]) -> Frames:
        """What was recorded since the last time.

        Args:
            calls: for each call of the encoder the encoder frames of each stream in it; 0 for
                streams that wait, which the modules are not given.

        Returns:
            The frames of each module, in the order in which the modules were called.

        Raises:
            RuntimeError: if a module was not called once for each call of the encoder.
        """
        outputs, self._outputs = self._outputs, {}
        taken: Frames = {}
        for name, given in outputs.items():
            if len(given) != len(calls):
                raise RuntimeError(
                    f"{name} was called {len(given)} times; expected {len(calls)}, once for each "
                    "call of the encoder"
                )
            pooled = self._pooled.get(name, 1)
            by_call = [
                own_frames(output, lengths, pooled)
                for output, lengths in zip(given, calls, strict=True)
            ]
            taken[name] = tuple(torch.cat(rows) for rows in zip(*by_call, strict=True))
        return taken

    def _hook(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def record(module: nn.Module, inputs: Any, output: Any) -> None:
            if name == "asr_head":
                self._add(ENCODER_OUTPUT, (False, inputs[0]))
            x = output[0] if isinstance(output, tuple) else output
            self._add(name, (isinstance(module, AttentionWeights), x))

        return record

    def _add(self, name: str, output: tuple[bool, Tensor]) -> None:
        self._outputs.setdefault(name, []).append(output)


def own_frames(
    output: tuple[bool, Tensor], lengths: Sequence[int], pooled: int = 1
) -> list[Tensor]:
    """Each stream's frames ``[n, C]`` in a call; a stream without frames is not part of it."""
    busy = [length for length in lengths if length]
    rows = iter(by_frame(output, len(busy)))
    found = [next(rows)[: -(-length // pooled)] if length else None for length in lengths]
    like = next(own for own in found if own is not None)
    return [like[:0] if own is None else own for own in found]


def by_frame(output: tuple[bool, Tensor], batch: int) -> Tensor:
    """``[B, n, ...] -> [B, n, C]``; attention weights come as ``[B * N, H, S, W]``."""
    is_weights, x = output
    if is_weights:
        x = x.unflatten(0, (batch, -1)).transpose(2, 3).flatten(1, 2)
    return x.flatten(2)


def calls_of(totals: Sequence[int], chunk_size: int) -> list[tuple[int, ...]]:
    """Encoder frames of each stream in each call of a step that gave ``totals`` frames."""
    return [
        tuple(min(max(total - start, 0), chunk_size) for total in totals)
        for start in range(0, max(totals, default=0), chunk_size)
    ]


def joined(parts: Iterable[Mapping[str, tuple[Tensor, ...]]]) -> Frames:
    """The frames of one step after the other."""
    found: dict[str, list[tuple[Tensor, ...]]] = {}
    for part in parts:
        for name, streams in part.items():
            found.setdefault(name, []).append(streams)
    return {
        name: tuple(torch.cat(pieces) for pieces in zip(*steps, strict=True))
        for name, steps in found.items()
    }
