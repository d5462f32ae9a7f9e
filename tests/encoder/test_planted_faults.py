"""The other tests can fail: faults planted in the encoder are seen by them.

Faults in what is carried between calls must break ``step`` = ``forward``; faults in the common
computation leave those two alike and must break ``forward`` = dense oracle.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from echostream.encoder import attention, chunk_masks, convolution, stack, zipformer
from echostream.encoder.chunk_masks import cached_chunk_masks
from echostream.encoder.ct_mask import stack_mask
from echostream.encoder.memory_bank import MemoryBank, MemoryState, memory_mask
from echostream.encoder.stack import Downsample
from echostream.encoder.stem import Stem, StemState

from .dense_zipformer import DenseZipformer
from .small_encoder import (
    INPUT_DIM,
    keep_nothing_prepared,
    largest_difference,
    noise,
    push,
    push_ragged,
    small_encoder,
)

Patch = pytest.MonkeyPatch
CHUNKING = {"chunk_size": 16, "left_context": 32, "max_future_frames": 1}


def step_against_forward() -> float:
    encoder = small_encoder(4)
    features = noise(1, 210, INPUT_DIM)
    expected = encoder(features, **CHUNKING)["encoder_out"]
    y, _ = push(encoder, features, [11, 80, 150], encoder.init_state(**CHUNKING))
    return largest_difference(y, expected)


def ragged_steps_against_forward() -> float:
    encoder = small_encoder(4)
    sources = [noise(total, INPUT_DIM, seed=total) for total in (130, 75)]
    plan = [[70, 0], [0, 40], [60, 35]]
    outputs, _ = push_ragged(encoder, sources, plan, encoder.init_state(2, **CHUNKING))
    return max(
        largest_difference(y, encoder(source[None], **CHUNKING)["encoder_out"][0])
        for source, y in zip(sources, outputs, strict=True)
    )


def forward_against_dense() -> float:
    encoder = small_encoder(4)
    features = noise(210, INPUT_DIM)
    y = encoder(features[None], **CHUNKING)["encoder_out"][0]
    expected = DenseZipformer(encoder, encoder.config)(features, 16, 32, 1)
    return largest_difference(y, expected)


def late_extend(past: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Keeps the frames up to the last but one."""
    whole = torch.cat((past, x), dim=1)
    kept = past.shape[1]
    return whole, whole[:, whole.shape[1] - kept - 1 : whole.shape[1] - 1].contiguous()


def late_advance(past: Tensor, x: Tensor) -> Tensor:
    return late_extend(past, x)[1]


def plant_late_cache(patch: Patch, room: ModuleType) -> None:
    """In modules as they are written and as the kernel computes them."""
    patch.setattr(room, "extend", late_extend)
    patch.setattr(room, "advance", late_advance)


def late_convolution_cache(patch: Patch) -> None:
    plant_late_cache(patch, convolution)


def late_attention_cache(patch: Patch) -> None:
    plant_late_cache(patch, attention)


def late_stem_cache(patch: Patch) -> None:
    good = Stem.forward

    def forward(self: Stem, features: Tensor, state: StemState) -> tuple[Tensor, StemState]:
        y, after = good(self, features, state)
        whole = torch.cat((state.features, features), dim=1)
        return y, StemState(whole[:, -1 - after.features.shape[1] : -1])

    patch.setattr(Stem, "forward", forward)


def late_memory_ring(patch: Patch) -> None:
    good = MemoryBank.forward

    def forward(self: MemoryBank, *args: Any) -> tuple[Tensor, MemoryState]:
        y, state = good(self, *args)
        return y, MemoryState(state.groups.roll(1, dims=1))

    patch.setattr(MemoryBank, "forward", forward)


def forgotten_position(patch: Patch) -> None:
    """Every call believes to be the first: the left context is then hidden."""

    def view(heard: list[int], *rest: Any) -> Any:
        return cached_chunk_masks([0] * len(heard), *rest)

    patch.setattr(zipformer, "cached_chunk_masks", view)


def forgotten_layer_state(patch: Patch) -> None:
    """The second layer of a stack starts from the first one's state."""
    good = stack.Stack.forward

    def forward(self: stack.Stack, x: Tensor, valid: Tensor, masks: Any, state: Any) -> Any:
        y, after = good(self, x, valid, masks, state)
        return y, dataclasses.replace(after, layers=(after.layers[0],) * len(after.layers))

    patch.setattr(stack.Stack, "forward", forward)


def idle_streams_move(patch: Patch) -> None:
    """A stream that got nothing takes the state of the padding run through with the others."""
    encode = zipformer.ZipformerEncoder._encode_chunk
    patch.setattr(zipformer.ZipformerEncoder, "_encode_busy", encode)


def view_with(**wrong: Callable[[Any], Any]) -> Callable[[Patch], None]:
    def plant(patch: Patch) -> None:
        def view(heard: Tensor, lengths: Tensor, **sizes: Any) -> Any:
            for name, change in wrong.items():
                sizes[name] = change(sizes[name])
            return stack_mask(heard, lengths, **sizes)

        patch.setattr(chunk_masks, "stack_mask", view)

    return plant


def one_frame_less_to_the_left(patch: Patch) -> None:
    def view(heard: Tensor, lengths: Tensor, **sizes: Any) -> Any:
        good = stack_mask(heard, lengths, **sizes)
        farthest = torch.eye(good.chunk, good.left + good.chunk, dtype=torch.bool)
        return dataclasses.replace(good, mask=good.mask.masked_fill(farthest, -1e9))

    patch.setattr(chunk_masks, "stack_mask", view)


def left_context_from_the_chunk(patch: Patch) -> None:
    """Every frame sees the whole left context of its chunk, as in the published Zipformer."""

    def view(heard: Tensor, lengths: Tensor, **sizes: Any) -> Any:
        good = stack_mask(heard, lengths, **sizes)
        reachable = good.mask[:, :, :1, : good.left]
        mask = torch.cat(
            (reachable.expand(-1, -1, good.chunk, -1), good.mask[..., good.left :]), dim=3
        )
        return dataclasses.replace(good, mask=mask)

    patch.setattr(chunk_masks, "stack_mask", view)


def shifted_positions(patch: Patch) -> None:
    good = attention.relative_positions
    patch.setattr(attention, "relative_positions", lambda *args: good(*args).roll(1, dims=0))


def unscaled_short_group(patch: Patch) -> None:
    def forward(self: Downsample, x: Tensor, valid: Tensor) -> Tensor:
        shares = self.weight.softmax(0)[:, None] * valid.unflatten(1, (-1, self.factor))
        return (x.unflatten(1, (-1, self.factor)) * shares).sum(2)

    patch.setattr(Downsample, "forward", forward)


def padding_counts_in_convolution(patch: Patch) -> None:
    good = convolution.Convolution.forward

    def forward(self: Any, x: Tensor, masks: Any, past: Tensor) -> Any:
        everything = dataclasses.replace(masks, valid=torch.ones_like(masks.valid))
        return good(self, x, everything, past)

    patch.setattr(convolution.Convolution, "forward", forward)


def shifted_future_taps(patch: Patch) -> None:
    """The future part starts at the frame itself."""
    good = convolution.Convolution._kernel

    def kernel(self: convolution.Convolution, taps: int) -> Tensor:
        past, future = good(self, taps).split((self.history + 1, taps), dim=2)
        shifted = torch.cat((future, torch.zeros_like(past)), dim=2).roll(self.history, dims=2)
        return torch.cat((past, torch.zeros_like(future)), dim=2) + shifted

    patch.setattr(convolution.Convolution, "_kernel", kernel)


def memory_one_segment_late(patch: Patch) -> None:
    good = MemoryBank._slots

    def slots(self: MemoryBank, groups: Tensor, masks: Any) -> Tensor:
        return good(self, groups, masks).roll(self.groups_per_segment, dims=1)

    patch.setattr(MemoryBank, "_slots", slots)


def memory_of_frames_never_heard(patch: Patch) -> None:
    def view(*args: Any) -> Any:
        good = memory_mask(*args)
        return dataclasses.replace(good, mask=torch.zeros_like(good.mask))

    patch.setattr(chunk_masks, "memory_mask", view)


CARRIED = [
    late_convolution_cache,
    late_attention_cache,
    late_stem_cache,
    late_memory_ring,
    forgotten_position,
    forgotten_layer_state,
]
COMMON = {
    "one frame less to the left": one_frame_less_to_the_left,
    "left context from the chunk": left_context_from_the_chunk,
    "one frame more ahead": view_with(max_future_frames=lambda future: future + 1),
    "twice the chunk": view_with(chunk_size=lambda chunk: chunk // 2, num_chunks=lambda n: n * 2),
    "positions": shifted_positions,
    "short group": unscaled_short_group,
    "padding in the convolution": padding_counts_in_convolution,
    "future taps": shifted_future_taps,
    "late memory": memory_one_segment_late,
    "memory of nothing": memory_of_frames_never_heard,
}


def test_without_a_fault() -> None:
    assert step_against_forward() < 1e-10
    assert ragged_steps_against_forward() < 1e-10
    assert forward_against_dense() < 1e-6


@pytest.mark.parametrize("plant", CARRIED, ids=lambda plant: plant.__name__)
def test_fault_in_what_is_carried(plant: Callable[[Patch], None], monkeypatch: Patch) -> None:
    keep_nothing_prepared(monkeypatch)
    plant(monkeypatch)
    assert step_against_forward() > 1e-3


def test_fault_in_what_is_carried_by_idle_streams(monkeypatch: Patch) -> None:
    keep_nothing_prepared(monkeypatch)
    idle_streams_move(monkeypatch)
    assert ragged_steps_against_forward() > 1e-3


@pytest.mark.parametrize("name", COMMON)
def test_fault_in_the_common_computation(name: str, monkeypatch: Patch) -> None:
    keep_nothing_prepared(monkeypatch)
    COMMON[name](monkeypatch)
    assert forward_against_dense() > 1e-3
