"""Chunk-aware depthwise convolution module of a Zipformer layer.

Symbols: ``B`` streams, ``N`` chunks in this call, ``S`` frames of a chunk, ``C`` channels,
``K`` kernel width, ``h = K // 2``.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from echostream.encoder.activation import swoosh_r
from echostream.encoder.attention import extend
from echostream.encoder.ct_mask import FrameView
from echostream.encoder.norm import scaled_linear


class Convolution(nn.Module):
    """``Linear -> GLU -> depthwise convolution -> SwooshR -> Linear``.

    The kernel has ``h`` taps on the past, which reach across chunks through the cache, one on the
    frame itself, and ``h`` on the future, of which only those within the look-ahead and within the
    chunk count; beyond that, and beyond the end of the recording, the input counts as zero.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.history = kernel // 2
        self.in_proj = nn.Linear(channels, 2 * channels)
        self.past_taps = nn.Conv1d(channels, channels, self.history + 1, groups=channels)
        self.future_taps = nn.Conv1d(channels, channels, self.history, groups=channels, bias=False)
        self.out_proj = scaled_linear(channels, channels, 0.5)

    def forward(self, x: Tensor, view: FrameView, past: Tensor) -> tuple[Tensor, Tensor]:
        """``[B, N * S, C] -> ([B, N * S, C], [B, h, C])``."""
        gated = functional.glu(self.in_proj(x), dim=-1) * view.exists.to(x.dtype)
        whole, new_past = extend(past, gated)
        mixed = self.past_taps(whole.transpose(1, 2))
        taps = min(self.history, view.future)
        if taps > 0:
            chunks = gated.unflatten(1, (-1, view.chunk)).flatten(0, 1).transpose(1, 2)
            ahead = functional.conv1d(
                functional.pad(chunks[..., 1:], (0, taps)),
                self.future_taps.weight[..., :taps],
                groups=gated.shape[2],
            )
            mixed = mixed + ahead.unflatten(0, (x.shape[0], -1)).transpose(1, 2).flatten(2)
        return self.out_proj(swoosh_r(mixed.transpose(1, 2))), new_past
