"""One stack of the U-Net: down-sample, Zipformer layers at the lower rate, up-sample, bypass.

Symbols: ``B`` streams, ``T`` encoder frames (50 Hz) in this call, ``D`` down-sampling factor,
``C`` channels.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from echostream.config import EncoderConfig
from echostream.constants import DOWNSAMPLING
from echostream.encoder.ct_mask import StackMask
from echostream.encoder.layer import LayerState, ZipformerLayer
from echostream.encoder.norm import Bypass
from echostream.encoder.prepared import PreparedModule
from echostream.encoder.state import State


@dataclass(frozen=True)
class StackState(State):
    """The states of the stack's layers."""

    layers: tuple[LayerState, ...]


class Downsample(PreparedModule):
    """Weighted mean of ``D`` frames with learned weights.

    At the end of a recording the last group may be short: the weights of the frames that exist
    are then scaled up to sum to one.
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.weight = nn.Parameter(torch.zeros(factor))

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """``[B, T, C]``, ``[B, T, 1]`` or ``None`` if all exist ``-> [B, T / D, C]``."""
        grouped = x.reshape(x.shape[0], -1, self.factor, x.shape[2])
        weights = self.prepared((), (self.weight,), lambda: self.weight.softmax(dim=0)[:, None])
        if valid is None:
            return (grouped * weights).sum(dim=2)
        weights = weights * valid.view(x.shape[0], -1, self.factor, 1)
        total = weights.sum(dim=2).clamp_min(1e-6)
        return (grouped * weights).sum(dim=2) / total


class Stack(nn.Module):
    """Stack number ``index`` (0 to 5) of the six; frames go in and come out at 50 Hz."""

    def __init__(self, config: EncoderConfig, index: int) -> None:
        super().__init__()
        self.channels = config.widths[index]
        self.downsampling = DOWNSAMPLING[index]
        self.layers = nn.ModuleList(
            ZipformerLayer(
                self.channels,
                heads=config.heads[index],
                ffn_dim=config.ffn_dims[index],
                conv_kernel=config.conv_kernels[index],
                query_head_dim=config.query_head_dim,
                value_head_dim=config.value_head_dim,
                pos_head_dim=config.pos_head_dim,
                pos_dim=config.pos_dim,
                dropout=config.dropout,
            )
            for _ in range(config.layers[index])
        )
        if self.downsampling > 1:
            self.downsample = Downsample(self.downsampling)
            self.bypass = Bypass(self.channels)

    def init_state(self, batch_size: int, left_context: int) -> StackState:
        """The state before the first frame; ``left_context`` counts encoder frames."""
        left = left_context // self.downsampling
        return StackState(
            tuple(layer.init_state(batch_size, left) for layer in self.layers)  # type: ignore[operator]
        )

    def forward(
        self,
        x: Tensor,
        valid: Tensor | None,
        masks_by_rate: Mapping[int, StackMask],
        state: StackState,
    ) -> tuple[Tensor, StackState]:
        """``[B, T, any] -> [B, T, C]``.

        ``masks_by_rate`` are by down-sampling factor; ``valid`` [B, T, 1] is at 50 Hz, ``None`` if
        all frames are valid.
        """
        masks = masks_by_rate[self.downsampling]
        # Channels are cut or zero-padded between stacks of different width.
        missing = self.channels - x.shape[2]
        if missing > 0:
            # As a pad, compilers would ask of every number whether it is there.
            x = torch.cat((x, x.new_zeros(*x.shape[:2], missing)), dim=2)
        elif missing < 0:
            x = functional.pad(x, (0, missing))
        before = x
        if self.downsampling > 1:
            x = self.downsample(x, valid)
        states = []
        for layer, layer_state in zip(self.layers, state.layers, strict=True):
            x, new_state = layer(x, masks, layer_state)
            states.append(new_state)
        if self.downsampling > 1:
            # Each frame of the stack stands for all the frames it was pooled from.
            grouped = before.reshape(x.shape[0], -1, self.downsampling, self.channels)
            x = self.bypass(grouped, x.unsqueeze(2)).view(before.shape)
        return x, StackState(tuple(states))
