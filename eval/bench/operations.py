"""What a chunk asks of the machine: multiply-adds and bytes of weights.

torch's own counter sees every matrix product and convolution that runs and knows their shapes. Not
counted, as usual, is what is done to single numbers: gates, norms, activations, softmax, the
weighted means of down-sampling.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from echostream.constants import SUBSAMPLING
from echostream.encoder import ZipformerEncoder


@dataclass(frozen=True)
class Demand:
    """Of one call."""

    multiply_adds: int
    weight_bytes: int
    """Read once in a call, whatever the number of streams in it."""

    def times(self, streams: int) -> Demand:
        """Of a call for so many streams."""
        return Demand(streams * self.multiply_adds, self.weight_bytes)


def weight_bytes(module: nn.Module) -> int:
    """Of all parameters, each counted once."""
    return sum(p.numel() * p.element_size() for p in module.parameters())


@torch.no_grad()
def multiply_adds(run: Callable[[], object]) -> int:
    """Of what ``run`` computes in torch by matrix products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() // 2


def chunk_multiply_adds(
    encoder: ZipformerEncoder, chunk_size: int, max_future_frames: int | None
) -> int:
    """Of one chunk of one stream.

    Two streams are counted and halved: a single one computes short depthwise convolutions as
    products of single numbers, which the counter does not see. The step runs once before, because
    what depends on weights alone is made then and kept.
    """
    state = encoder.init_state(2, chunk_size=chunk_size, max_future_frames=max_future_frames)
    features = state.pending.new_zeros(2, chunk_size * SUBSAMPLING, encoder.config.input_dim)
    encoder.step(features, state)
    return multiply_adds(lambda: encoder.step(features, state)) // 2
