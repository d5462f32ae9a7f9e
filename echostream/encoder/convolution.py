"""Chunk-aware depthwise convolution module of a Zipformer layer.

Symbols: ``B`` streams, ``N`` chunks in this call, ``S`` frames of a chunk, ``C`` channels,
``K`` kernel width, ``h = K // 2``, ``W = h + S`` frames of a window.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from echostream.encoder.activation import swoosh_r
from echostream.encoder.attention import advance, chunk_kernel, extend
from echostream.encoder.ct_mask import StackMask
from echostream.encoder.linear import Linear, scaled_linear
from echostream.encoder.prepared import PreparedModule


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

    def forward(self, x: Tensor, masks: StackMask, past: Tensor) -> tuple[Tensor, Tensor]:
        """``[B, N * S, C] -> ([B, N * S, C], [B, h, C])``."""
        projected = self.in_proj(x)
        kernel = chunk_kernel(projected, masks)
        if kernel is not None:
            gated = kernel.gated_sigmoid(projected, masks.valid)
            ahead = self._ahead(masks)
            taps = self.prepared(("taps", ahead), self._sources(), lambda: self._taps(ahead))
            mixed = kernel.depthwise_swoosh(past, gated, taps, self.past_taps.bias)  # type: ignore[arg-type]
            return self.out_proj(mixed), advance(past, gated)
        gated = functional.glu(projected, dim=-1)
        if not masks.whole:
            gated = gated * masks.valid.to(x.dtype)
        whole, new_past = extend(past, gated)
        return self.out_proj(swoosh_r(self._mix(whole, masks))), new_past

    def _mix(self, whole: Tensor, masks: StackMask) -> Tensor:
        """Depthwise convolution within windows, ``[B, h + N * S, C] -> [B, N * S, C]``."""
        batch, frames, channels = whole.shape
        width = self.history + masks.chunk
        ahead = self._ahead(masks)
        kernel = self.prepared(("kernel", ahead), self._sources(), lambda: self._kernel(ahead))
        # Windows of all chunks, [B * N, W, C]; each gets zeros after its end.
        cut = whole if frames == width else whole.unfold(1, width, masks.chunk).transpose(2, 3)
        cut = cut.reshape(-1, 1, width, channels).permute(0, 3, 1, 2)
        # Channels last, as the frames lie.
        mixed = functional.conv2d(
            functional.pad(cut, (0, ahead)),
            kernel.unsqueeze(2),
            self.past_taps.bias,
            groups=channels,
        )
        return mixed.permute(0, 2, 3, 1).reshape(batch, -1, channels)

    def _ahead(self, masks: StackMask) -> int:
        """Taps on the future that count."""
        return min(self.history, masks.future)

    def _sources(self) -> tuple[Tensor, Tensor]:
        return self.past_taps.weight, self.future_taps.weight

    def _kernel(self, ahead: int) -> Tensor:
        """All taps in the order of time, ``[C, 1, h + 1 + ahead]``."""
        return torch.cat((self.past_taps.weight, self.future_taps.weight[..., :ahead]), dim=2)

    def _taps(self, ahead: int) -> Tensor:
        """The same with channels side by side, ``[h + 1 + ahead, C]``."""
        return self._kernel(ahead)[:, 0].T.contiguous()
