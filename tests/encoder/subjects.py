"""The registry's encoders, small and random, and what each of them can be asked.

A new encoder gets a line in :data:`SUBJECTS` and is then held to ``test_contract.py``.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from echostream.constants import FRAME_SHIFT_MS
from echostream.encoder.whisper import WhisperEncoder
from echostream.encoder.zipformer import ZipformerEncoder
from tests.baseline.dense_conformer import DenseConformer
from tests.baseline.small_conformer import STREAMED, small_conformer

from .dense_whisper import dense_whisper
from .dense_zipformer import DenseZipformer
from .small_encoder import (
    CHUNK_SIZES,
    FUTURES,
    INPUT_DIM,
    fresh_encoder,
    randomise,
    small_encoder,
)

Chunking = Mapping[str, Any]


@dataclass(frozen=True)
class Subject:
    """One encoder of the registry."""

    makers: tuple[Callable[[torch.dtype], Any], ...]
    """Small encoders in evaluation mode, shared between tests: of several configurations."""
    chunkings: tuple[Chunking, ...]
    """Arguments of both the call and ``init_state``; the first is the one for single examples."""
    modes: tuple[Chunking, ...]
    """More arguments of ``init_state``: ways to stream with the same output."""
    cached: Chunking
    """Of these the way in which every chunk is computed once."""
    others: tuple[Callable[[torch.dtype], Any], ...]
    """Encoders whose states the first maker's encoder must refuse."""
    other_chunkings: tuple[Chunking, ...]
    """Whose states cannot be stacked with those of the first chunking."""
    dense: Callable[[Any, Tensor, Chunking], Tensor]
    """``(encoder, features [T, F], chunking)`` to the frames, by an independent oracle."""

    def make(self, dtype: torch.dtype = torch.float64) -> Any:
        return self.makers[0](dtype)

    @property
    def few(self) -> tuple[Chunking, ...]:
        """Some of the chunkings, far apart."""
        return self.chunkings[1 :: len(self.chunkings) // 3]

    def each(self, dtype: torch.dtype = torch.float64) -> Iterator[tuple[Any, Chunking]]:
        """Every small encoder with every argument of ``init_state`` for single examples."""
        for make, mode in product(self.makers, self.modes):
            yield make(dtype), {**self.chunkings[0], **mode}


def unit_of(encoder: Any) -> int:
    """Feature frames of an encoder frame."""
    return int(encoder.frame_ms) // FRAME_SHIFT_MS


def _other_zipformer(dtype: torch.dtype, **changes: Any) -> ZipformerEncoder:
    return fresh_encoder(**changes).to(dtype)


def _dense_zipformer(encoder: Any, features: Tensor, chunking: Chunking) -> Tensor:
    sizes = (chunking[name] for name in ("chunk_size", "left_context", "max_future_frames"))
    return DenseZipformer(encoder, encoder.config)(features, *sizes)


def small_whisper(dtype: torch.dtype, **changes: Any) -> WhisperEncoder:
    """Two layers, and windows so short that a test hears several of them."""
    sizes = {"embed_dim": 16, "num_layers": 2, "num_heads": 2, "ffn_dim": 24, **changes}
    windows = {"max_positions": 80, "chunk_size": 16, "window_stride": 48, "window_overlap": 16}
    encoder = WhisperEncoder(input_dim=INPUT_DIM, **sizes, **windows)
    randomise(encoder, 3)
    encoder.position_mean.normal_(generator=torch.Generator().manual_seed(4))
    return encoder.to(dtype).eval()


def _dense_whisper(encoder: Any, features: Tensor, chunking: Chunking) -> Tensor:
    return dense_whisper(encoder, features, **chunking)


def _dense_conformer(encoder: Any, features: Tensor, chunking: Chunking) -> Tensor:
    sizes = (chunking["chunk_size"], chunking["conv_chunk_size"])
    dense = DenseConformer(encoder.state_dict(), 2, encoder.config.subsampling)
    return dense(features, *sizes)


SUBJECTS = {
    "zipformer": Subject(
        makers=(partial(small_encoder, 4), partial(small_encoder, 0)),
        chunkings=(
            {"chunk_size": 16, "left_context": 32, "max_future_frames": 1},
            *(
                {"chunk_size": chunk, "left_context": left, "max_future_frames": future}
                for chunk, left, future in product(CHUNK_SIZES, (0, 8, 64, 128), FUTURES)
            ),
        ),
        modes=({},),
        cached={},
        others=tuple(
            partial(_other_zipformer, **changes)
            for changes in (
                {"embed_dim": (16, 24, 32, 48, 32, 24)},
                {"memory_segment": 24},
                {"memory_size": 0},
                {"num_layers_per_stack": 2},
                {"num_layers_per_stack": 1},
            )
        ),
        other_chunkings=(
            {"chunk_size": 8, "left_context": 32, "max_future_frames": 1},
            {"chunk_size": 16, "left_context": 8, "max_future_frames": 1},
            {"chunk_size": 16, "left_context": 32, "max_future_frames": None},
        ),
        dense=_dense_zipformer,
    ),
    "chunk-conformer": Subject(
        makers=(small_conformer, partial(small_conformer, subsampling=2)),
        chunkings=tuple(
            {"chunk_size": chunk, "conv_chunk_size": conv_chunk}
            for chunk, conv_chunk in ((8, 8), *STREAMED)
        ),
        modes=({"mode": "cached"}, {"mode": "recompute"}),
        cached={"mode": "cached"},
        others=(
            partial(small_conformer, conv_kernel=31),
            partial(small_conformer, num_layers=1),
        ),
        other_chunkings=(
            {"chunk_size": 4, "conv_chunk_size": 4},
            {"chunk_size": 8, "conv_chunk_size": 8, "mode": "recompute"},
        ),
        dense=_dense_conformer,
    ),
    "whisper": Subject(
        makers=(small_whisper,),
        chunkings=tuple(
            {"chunk_size": chunk, "right_context": right}
            for chunk, right in ((16, 5), (8, 0), (16, 0), (8, 16), (8, 3), (16, 16))
        ),
        modes=({},),
        cached={},
        others=(partial(small_whisper, num_layers=1), partial(small_whisper, ffn_dim=32)),
        other_chunkings=(
            {"chunk_size": 8, "right_context": 5},
            {"chunk_size": 16, "right_context": 4},
        ),
        dense=_dense_whisper,
    ),
}

subjects = pytest.mark.parametrize("subject", SUBJECTS.values(), ids=SUBJECTS)
