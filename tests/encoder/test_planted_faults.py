"""The other tests can fail: faults planted in an encoder are seen by them.

Faults in what is carried between calls must break ``step`` = ``forward``; faults in the common
computation leave those two alike and must break ``forward`` = dense oracle.
"""

import dataclasses
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from echostream.baseline import ChunkConformerEncoder, chunk_conformer
from echostream.baseline import attention as relative_attention
from echostream.baseline import convolution as chunk_convolution
from echostream.baseline.attention import RelativeAttention
from echostream.baseline.convolution import ChunkConv1d
from echostream.baseline.layer import ConformerLayer
from echostream.encoder import attention, chunk_masks, convolution, zipformer
from echostream.encoder.convolution import Convolution
from echostream.encoder.memory_bank import MemoryBank
from echostream.encoder.stack import Downsample, Stack

from .small_encoder import keep_nothing_prepared, largest_difference, noise, push
from .subjects import SUBJECTS, Subject, subjects

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]


def step_against_forward(subject: Subject, mode: Any) -> float:
    encoder, chunking = subject.make(), subject.chunkings[0]
    features = noise(1, 210, encoder.input_dim)
    expected = encoder(features, **chunking)["encoder_out"]
    state = encoder.init_state(**chunking, **mode)
    y, _ = push(encoder, features, [11, 80, 150], state)
    return largest_difference(y, expected)


def forward_against_dense(subject: Subject) -> float:
    encoder, chunking = subject.make(), subject.chunkings[0]
    features = noise(210, encoder.input_dim)
    y = encoder(features[None], **chunking)["encoder_out"][0]
    return largest_difference(y, subject.dense(encoder, features, chunking))


def changed(owner: Any, name: str, wrong: Callable[..., Any]) -> Plant:
    """``wrong(good, *arguments)`` in place of ``good(*arguments)``."""

    def plant(patch: Patch) -> None:
        good = getattr(owner, name)
        patch.setattr(owner, name, lambda *given, **named: wrong(good, *given, **named))

    return plant


def late_cache(room: ModuleType) -> Plant:
    """Keeps the frames up to the last but one: in modules, and where the kernel computes them."""

    def late(past: Tensor, x: Tensor) -> Tensor:
        whole = torch.cat((past, x), dim=1)
        return whole[:, whole.shape[1] - past.shape[1] - 1 : whole.shape[1] - 1].contiguous()

    def plant(patch: Patch) -> None:
        patch.setattr(room, "extend", lambda past, x: (torch.cat((past, x), 1), late(past, x)))
        patch.setattr(room, "advance", late)

    return plant


def first_layers_state(good: Any, *given: Any) -> Any:
    """Every layer goes on from the first one's state."""
    y, after = good(*given)
    return y, dataclasses.replace(after, layers=(after.layers[0],) * len(after.layers))


def masks_with(wrong: Callable[..., Any]) -> Plant:
    """The masks of a stack changed by ``wrong``."""
    return changed(chunk_masks, "stack_mask", lambda good, *at, **sizes: wrong(good(*at, **sizes)))


def sizes_with(**wrong: Callable[[Any], Any]) -> Plant:
    """The masks of a stack made from other sizes."""

    def plant(good: Any, *at: Any, **sizes: Any) -> Any:
        return good(*at, **sizes | {name: change(sizes[name]) for name, change in wrong.items()})

    return changed(chunk_masks, "stack_mask", plant)


def one_frame_less_to_the_left(masks: Any) -> Any:
    farthest = torch.eye(masks.chunk, masks.left + masks.chunk, dtype=torch.bool)
    return dataclasses.replace(masks, mask=masks.mask.masked_fill(farthest, -1e9))


def left_context_from_the_chunk(masks: Any) -> Any:
    """Every frame sees the whole left context of its chunk, as in the published Zipformer."""
    reachable = masks.mask[:, :, :1, : masks.left].expand(-1, -1, masks.chunk, -1)
    mask = torch.cat((reachable, masks.mask[..., masks.left :]), dim=3)
    return dataclasses.replace(masks, mask=mask)


def unscaled_short_group(_: Any, self: Downsample, x: Tensor, valid: Tensor) -> Tensor:
    shares = self.weight.softmax(0)[:, None] * valid.unflatten(1, (-1, self.factor))
    return (x.unflatten(1, (-1, self.factor)) * shares).sum(2)


def padding_counts(good: Any, self: Any, x: Tensor, masks: Any, past: Tensor) -> Any:
    return good(self, x, dataclasses.replace(masks, valid=torch.ones_like(masks.valid)), past)


def shifted_future_taps(good: Any, self: Convolution, taps: int) -> Tensor:
    """The future part starts at the frame itself."""
    past, future = good(self, taps).split((self.history + 1, taps), dim=2)
    shifted = torch.cat((future, torch.zeros_like(past)), dim=2).roll(self.history, dims=2)
    return torch.cat((past, torch.zeros_like(future)), dim=2) + shifted


def rolled(good: Any, *given: Any) -> Tensor:
    table: Tensor = good(*given)
    return table.roll(1, dims=0)


def late_slots(good: Any, self: MemoryBank, *given: Any) -> Any:
    return good(self, *given).roll(self.groups_per_segment, dims=1)


def memory_never_heard(good: Any, *given: Any) -> Any:
    masks = good(*given)
    return dataclasses.replace(masks, mask=torch.zeros_like(masks.mask))


def late_past(stride: int) -> Plant:
    """The convolutions of this stride hand on the frames up to the last but one."""

    def plant(good: Any, self: ChunkConv1d, x: Tensor, size: int, past: Tensor) -> Any:
        y, kept = good(self, x, size, past)
        if self.stride[0] == stride:
            kept = torch.cat((past, x), dim=2)[:, :, -1 - kept.shape[2] : -1]
        return y, kept

    return changed(ChunkConv1d, "forward", plant)


def wrong_pair(*wrong: Callable[[Tensor], Tensor]) -> Plant:
    """Keys and values are handed on wrongly."""

    def plant(good: Any, *given: Any) -> Any:
        y, kept = good(*given)
        return y, tuple(change(each) for change, each in zip(wrong, kept, strict=True))

    return changed(RelativeAttention, "forward", plant)


def unchanged(x: Tensor) -> Tensor:
    return x


def attention_one_frame_short(good: Any, *given: Any) -> Tensor:
    mask = good(*given)
    last = functional.pad(mask[..., 1:], (0, 1), value=True)
    return (mask | last) & ~torch.eye(mask.shape[-1], dtype=torch.bool)


def depthwise_chunk_of_double_size(good: Any, self: Any, x: Tensor, size: int, past: Any) -> Any:
    return good(self, x, size * 2 if self.stride[0] == 1 else size, past)


CARRIED: dict[str, dict[str, Plant]] = {
    "zipformer": {
        "late convolution cache": late_cache(convolution),
        "late attention cache": late_cache(attention),
        # Every call believes to be the first: the left context is then hidden.
        "forgotten position": changed(
            zipformer, "cached_chunk_masks", lambda good, heard, *rest: good([0], *rest)
        ),
        "forgotten layer state": changed(Stack, "forward", first_layers_state),
    },
    "chunk-conformer": {
        "late depthwise past": late_past(1),
        "late subsampler": late_past(2),
        "keys one frame late": wrong_pair(lambda keys: keys.roll(1, dims=2), unchanged),
        "values one frame late": wrong_pair(unchanged, lambda values: values.roll(1, dims=2)),
        # The usual off-by-one of a bounded cache.
        "oldest frame dropped": wrong_pair(lambda keys: keys[:, :, 1:], lambda v: v[:, :, 1:]),
        "layers swapped": changed(ChunkConformerEncoder, "_run", first_layers_state),
    },
}
COMMON: dict[str, dict[str, Plant]] = {
    "zipformer": {
        "one frame less to the left": masks_with(one_frame_less_to_the_left),
        "left context from the chunk": masks_with(left_context_from_the_chunk),
        "one frame more ahead": sizes_with(max_future_frames=lambda future: future + 1),
        "twice the chunk": sizes_with(chunk_size=lambda c: c // 2, num_chunks=lambda n: n * 2),
        "positions": changed(attention, "relative_positions", rolled),
        "short group": changed(Downsample, "forward", unscaled_short_group),
        "padding in the convolution": changed(Convolution, "forward", padding_counts),
        "future taps": changed(Convolution, "_kernel", shifted_future_taps),
        "late memory": changed(MemoryBank, "_slots", late_slots),
        "memory of nothing": changed(chunk_masks, "memory_mask", memory_never_heard),
    },
    "chunk-conformer": {
        "positions": changed(relative_attention, "relative_positions", rolled),
        "attention without chunks": changed(chunk_conformer, "hidden_keys", lambda *_: None),
        "attention one frame short": changed(
            chunk_conformer, "hidden_keys", attention_one_frame_short
        ),
        # A window ends with real frames instead of zeros, as an ordinary convolution.
        "convolution looks ahead": changed(chunk_convolution, "is_whole", lambda *_: True),
        "depthwise chunk": changed(ChunkConv1d, "forward", depthwise_chunk_of_double_size),
        "whole feed-forward": changed(
            ConformerLayer,
            "forward",
            lambda good, self, x, *rest: good(self, x + 0.5 * self.ffn1(x), *rest),
        ),
    },
}


def each(faults: dict[str, dict[str, Plant]]) -> pytest.MarkDecorator:
    pairs = [(name, fault) for name, plants in faults.items() for fault in plants]
    return pytest.mark.parametrize(("name", "fault"), pairs)


@subjects
def test_without_a_fault(subject: Subject) -> None:
    for mode in subject.modes:
        assert step_against_forward(subject, mode) < 1e-10
    # The Zipformer makes its position encoding in float32 at any dtype.
    assert forward_against_dense(subject) < 1e-6


@each(CARRIED)
def test_fault_in_what_is_carried(name: str, fault: str, monkeypatch: Patch) -> None:
    keep_nothing_prepared(monkeypatch)
    CARRIED[name][fault](monkeypatch)
    subject = SUBJECTS[name]
    for mode in subject.modes:
        difference = step_against_forward(subject, mode)
        # What is handed on is not looked at when nothing is kept.
        assert difference > 1e-3 if mode == subject.cached else difference < 1e-10


def test_fault_in_recomputing(monkeypatch: Patch) -> None:
    def step(good: Any, *given: Any, **named: Any) -> Any:
        y, lengths, after = good(*given, **named)
        return y, lengths, dataclasses.replace(after, heard=after.heard.roll(1, dims=1))

    changed(ChunkConformerEncoder, "step", step)(monkeypatch)
    assert step_against_forward(SUBJECTS["chunk-conformer"], {"mode": "recompute"}) > 1e-3


@each(COMMON)
def test_fault_in_the_common_computation(name: str, fault: str, monkeypatch: Patch) -> None:
    keep_nothing_prepared(monkeypatch)
    COMMON[name][fault](monkeypatch)
    assert forward_against_dense(SUBJECTS[name]) > 1e-3
