"""The other tests can fail: faults planted in the encoder are seen by them.

Faults in what is carried between calls must break ``step`` = ``forward``; faults in the common
computation leave those two alike and must break ``forward`` = dense oracle.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from echostream.baseline import ChunkConformerEncoder, attention, chunk_conformer, convolution
from echostream.baseline.attention import RelativeAttention
from echostream.baseline.convolution import ChunkConv1d, Subsampler
from echostream.baseline.layer import ConformerLayer

from .dense_conformer import DenseConformer
from .small_conformer import INPUT_DIM, largest_difference, noise, push, small_encoder

Patch = pytest.MonkeyPatch


def step_against_forward(mode: str) -> float:
    encoder = small_encoder()
    features = noise(1, 210, INPUT_DIM)
    expected = encoder(features)["encoder_out"]
    y, _ = push(encoder, features, [11, 80, 150], encoder.init_state(mode=mode))
    return largest_difference(y, expected)


def forward_against_dense() -> float:
    encoder = small_encoder()
    features = noise(1, 139, INPUT_DIM)
    expected = DenseConformer(encoder.state_dict(), num_heads=2)(features[0], 8, 8)
    return largest_difference(encoder(features)["encoder_out"][0], expected)


def wrong_past(stride: int, wrong: Callable[[Tensor], Tensor]) -> Callable[[Patch], None]:
    """The convolutions of this stride hand on a wrong past."""

    def plant(patch: Patch) -> None:
        good = ChunkConv1d.forward

        def forward(self: ChunkConv1d, x: Tensor, size: int, past: Tensor) -> Any:
            y, kept = good(self, x, size, past)
            if self.stride[0] == stride:
                kept = wrong(torch.cat((past, x), dim=2))[:, :, -kept.shape[2] :]
            return y, kept

        patch.setattr(ChunkConv1d, "forward", forward)

    return plant


def wrong_keys(wrong: Callable[[Tensor], Tensor], number: int) -> Callable[[Patch], None]:
    """Keys (0) or values (1) are handed on wrongly."""

    def plant(patch: Patch) -> None:
        good = RelativeAttention.forward

        def forward(self: RelativeAttention, *args: Any) -> Any:
            y, kept = good(self, *args)
            changed = list(kept)
            changed[number] = wrong(changed[number])
            return y, tuple(changed)

        patch.setattr(RelativeAttention, "forward", forward)

    return plant


def shorter_left_context(patch: Patch) -> None:
    """The oldest frame is dropped from the cache: the usual off-by-one of a bounded one."""
    good = RelativeAttention.forward

    def forward(self: RelativeAttention, *args: Any) -> Any:
        y, (keys, values) = good(self, *args)
        return y, (keys[:, :, 1:], values[:, :, 1:])

    patch.setattr(RelativeAttention, "forward", forward)


def swapped_layers(patch: Patch) -> None:
    """Every layer goes on from the first one's state."""
    good = ChunkConformerEncoder._run

    def run(self: ChunkConformerEncoder, *args: Any) -> Any:
        y, cache = good(self, *args)
        return y, dataclasses.replace(cache, layers=(cache.layers[0],) * len(cache.layers))

    patch.setattr(ChunkConformerEncoder, "_run", run)


def stale_subsampler(patch: Patch) -> None:
    good = Subsampler.forward

    def forward(self: Subsampler, x: Tensor, size: int, past: Any, lengths: Any = None) -> Any:
        y, _ = good(self, x, size, past, lengths)
        return y, past

    patch.setattr(Subsampler, "forward", forward)


CARRIED = {
    "late past of the depthwise convolution": wrong_past(1, lambda whole: whole[:, :, :-1]),
    "no past of the depthwise convolution": wrong_past(1, torch.zeros_like),
    "late past of the subsampler": wrong_past(2, lambda whole: whole[:, :, :-1]),
    "stale subsampler": stale_subsampler,
    "keys one frame late": wrong_keys(lambda keys: keys.roll(1, dims=2), 0),
    "values one frame late": wrong_keys(lambda values: values.roll(1, dims=2), 1),
    "newest key lost": wrong_keys(
        lambda keys: torch.cat((keys[:, :, :-1], keys[:, :, -2:-1]), 2), 0
    ),
    "oldest frame dropped": shorter_left_context,
    "layers swapped": swapped_layers,
}


def position_off_by_one(patch: Patch) -> None:
    good = attention.relative_positions
    patch.setattr(attention, "relative_positions", lambda *args: good(*args).roll(1, dims=0))


def attention_without_chunks(patch: Patch) -> None:
    patch.setattr(chunk_conformer, "hidden_keys", lambda *args: None)


def attention_one_frame_short(patch: Patch) -> None:
    good = attention.hidden_keys

    def hidden(*args: Any) -> Any:
        mask = good(*args)
        last = functional.pad(mask[..., 1:], (0, 1), value=True)
        eye = torch.eye(mask.shape[-1], dtype=torch.bool)
        return (mask | last) & ~eye

    patch.setattr(chunk_conformer, "hidden_keys", hidden)


def convolution_sees_past_the_chunk(patch: Patch) -> None:
    """A window ends with real frames instead of zeros, as an ordinary convolution."""
    patch.setattr(convolution, "is_whole", lambda size: True)


def depthwise_chunk_of_double_size(patch: Patch) -> None:
    good = ChunkConv1d.forward

    def forward(self: ChunkConv1d, x: Tensor, size: int, past: Tensor) -> Any:
        return good(self, x, size * 2 if self.stride[0] == 1 else size, past)

    patch.setattr(ChunkConv1d, "forward", forward)


def whole_feed_forward(patch: Patch) -> None:
    """Feed-forward modules count whole instead of half."""
    good = ConformerLayer.forward

    def forward(self: ConformerLayer, x: Tensor, *args: Any) -> Any:
        return good(self, x + 0.5 * self.ffn1(x), *args)

    patch.setattr(ConformerLayer, "forward", forward)


COMMON = {
    "positions": position_off_by_one,
    "attention without chunks": attention_without_chunks,
    "attention one frame short": attention_one_frame_short,
    "convolution looks ahead": convolution_sees_past_the_chunk,
    "depthwise chunk": depthwise_chunk_of_double_size,
    "whole feed-forward": whole_feed_forward,
}


def test_without_a_fault() -> None:
    assert step_against_forward("cached") < 1e-10
    assert step_against_forward("recompute") < 1e-10
    assert forward_against_dense() < 1e-6


@pytest.mark.parametrize("name", CARRIED)
def test_fault_in_what_is_carried(name: str, monkeypatch: Patch) -> None:
    CARRIED[name](monkeypatch)
    assert step_against_forward("cached") > 1e-3
    # What is handed on is not looked at when nothing is kept.
    assert step_against_forward("recompute") < 1e-10


def test_fault_in_recomputing(monkeypatch: Patch) -> None:
    good = ChunkConformerEncoder.step

    def step(self: ChunkConformerEncoder, features: Tensor, state: Any, **options: Any) -> Any:
        y, lengths, after = good(self, features, state, **options)
        return y, lengths, dataclasses.replace(after, heard=after.heard.roll(1, dims=1))

    monkeypatch.setattr(ChunkConformerEncoder, "step", step)
    assert step_against_forward("recompute") > 1e-3


@pytest.mark.parametrize("name", COMMON)
def test_fault_in_the_common_computation(name: str, monkeypatch: Patch) -> None:
    COMMON[name](monkeypatch)
    assert forward_against_dense() > 1e-3
