"""Chunk-aware depthwise convolution module of a Zipformer layer.

Symbols: ``B`` streams, ``N`` chunks in this call, ``S`` frames of a chunk, ``C`` channels,
``K`` kernel width, ``h = K // 2``, ``W = h + S`` frames of a window.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from echostream.encoder.activation import swoosh_r
from echostream.encoder.attention import extend
from echostream.encoder.ct_mask import FrameView
from echostream.encoder.linear import Linear, scaled_linear
from echostream.encoder.prepared import PreparedModule

_LARGEST_MATRIX = 1 << 17
"""Numbers in a mixing matrix from which the convolution proper is faster."""


class Convolution(PreparedModule):
    """``Linear -> GLU -> depthwise convolution -> SwooshR -> Linear``.

    The kernel has ``h`` taps on the past, which reach across chunks through the cache, one on the
    frame itself, and ``h`` on the future, of which only those within the look-ahead and within the
    chunk count; beyond that, and beyond the end of the recording, the input counts as zero.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.history = kernel // 2
        self.in_proj = Linear(channels, 2 * channels)
        self.past_taps = nn.Conv1d(channels, channels, self.history + 1, groups=channels)
        self.future_taps = nn.Conv1d(channels, channels, self.history, groups=channels, bias=False)
        self.out_proj = scaled_linear(channels, channels, 0.5)

    def forward(self, x: Tensor, view: FrameView, past: Tensor) -> tuple[Tensor, Tensor]:
        """``[B, N * S, C] -> ([B, N * S, C], [B, h, C])``."""
        gated = functional.glu(self.in_proj(x), dim=-1)
        if not view.whole:
            gated = gated * view.exists.to(x.dtype)
        whole, new_past = extend(past, gated)
        return self.out_proj(swoosh_r(self._mix(whole, view))), new_past

    def _mix(self, whole: Tensor, view: FrameView) -> Tensor:
        """Depthwise convolution within windows, ``[B, h + N * S, C] -> [B, N * S, C]``."""
        batch, frames, channels = whole.shape
        width = self.history + view.chunk
        one = frames == width
        taps = min(self.history, view.future)
        sources = (self.past_taps.weight, self.future_taps.weight)
        few = batch == 1 and one and width * view.chunk * channels <= _LARGEST_MATRIX
        if few and not torch.jit.is_tracing():  # type: ignore[attr-defined]
            # So few frames that finding a convolution's kernel takes longer than all products;
            # not so in a compiled graph, where it was found before.
            mixing = self.prepared(
                ("mixing", view.chunk, taps), sources, lambda: self._mixing(view.chunk, taps)
            )
            return (whole.unsqueeze(1) * mixing).sum(dim=2) + self.past_taps.bias  # type: ignore[operator]
        kernel = self.prepared(("kernel", taps), sources, lambda: self._kernel(taps))
        # Windows of all chunks, [B * N, W, C]; each gets zeros after its end.
        cut = whole if one else whole.unfold(1, width, view.chunk).transpose(2, 3)
        cut = cut.reshape(-1, 1, width, channels).permute(0, 3, 1, 2)
        # Channels last, as the frames lie.
        mixed = functional.conv2d(
            functional.pad(cut, (0, taps)),
            kernel.unsqueeze(2),
            self.past_taps.bias,
            groups=channels,
        )
        return mixed.permute(0, 2, 3, 1).reshape(batch, -1, channels)

    def _kernel(self, taps: int) -> Tensor:
        """All taps in the order of time, ``[C, 1, h + 1 + taps]``."""
        return torch.cat((self.past_taps.weight, self.future_taps.weight[..., :taps]), dim=2)

    def _mixing(self, chunk: int, taps: int) -> Tensor:
        """The convolution of one window as a matrix for each channel, ``[S, W, C]``."""
        kernel = self._kernel(taps)[:, 0].T
        offset = (
            torch.arange(self.history + chunk, device=kernel.device)
            - torch.arange(chunk, device=kernel.device)[:, None]
        )
        reached = (offset >= 0) & (offset < len(kernel))
        return kernel[offset.clamp(0, len(kernel) - 1)] * reached.unsqueeze(2)
