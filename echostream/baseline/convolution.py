"""Convolutions that look ahead inside a chunk only, and the chunk sizes that can be streamed.

Symbols: ``B`` recordings, ``C`` channels, ``L`` frames, ``c`` frames of a window, ``p`` half a
kernel, ``s`` stride, ``N`` windows.

The published chunk-based convolution (StreamSpeech, ACL 2024, section 3.1) cuts its input into
windows of ``c`` frames. A window sees ``p`` real frames to its left, and zeros instead of the
``p`` frames to its right.

``chunk_size`` is what attention sees at once, in encoder frames. ``conv_chunk_size`` is
how far one window of every convolution reaches, in frames at that convolution's own rate: the same
number stands for 10 ms frames in the first layer of the subsampler, 20 ms frames in its second, and
encoder frames in the Conformer layers.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from echostream.errors import ConfigError

MAX_CONV_CHUNK = 16
"""The published agents never give the convolutions a larger chunk."""

WHOLE_RECORDING = 99999
"""As both chunk sizes of ``forward``: attention and convolutions see the whole recording."""

WHOLE_FROM = 999
"""A convolution chunk from this number on, like one below 1, is the whole recording."""


def conv_chunk_of(chunk_size: int) -> int:
    """Convolution chunk of the published S2TT and ASR agents: the attention chunk, at most 16."""
    return min(chunk_size, MAX_CONV_CHUNK)


def is_whole(conv_chunk_size: int) -> bool:
    """Whether convolutions look ahead over the whole recording."""
    return conv_chunk_size <= 0 or conv_chunk_size >= WHOLE_FROM


def check_streamable(chunk_size: int, conv_chunk_size: int) -> None:
    """Raise :class:`ConfigError` for chunk sizes that no stream should or could use.

    A stream gives a frame out once, so the frames of a complete chunk must not change with later
    audio, and all audio must be heard. The published code also runs the other settings; for whole
    recordings ``forward`` still does.
    """
    found = f"chunk_size is {chunk_size} encoder frames (convolution chunk {conv_chunk_size})"
    expected = (
        f"expected an even number up to {MAX_CONV_CHUNK} or a multiple of {MAX_CONV_CHUNK}, such "
        "as 8, 16 or 32"
    )
    if not 0 < chunk_size < WHOLE_RECORDING or is_whole(conv_chunk_size):
        raise ConfigError(
            f"{found}: with these the encoder looks ahead to the end of the recording, so no frame "
            f"is final before it; {expected}. Use forward() for whole recordings"
        )
    if conv_chunk_size % 2:
        raise ConfigError(
            f"{found}: the subsampler's stride of 2 gives a frame too many for each odd window, "
            f"which warps time and leaves the end of the audio unheard; {expected}"
        )
    if chunk_size % conv_chunk_size:
        raise ConfigError(
            f"{found}: attention and convolution chunks end at different frames, so frames given "
            f"out would change with later audio; {expected}"
        )


class ChunkConv1d(nn.Conv1d):
    """``torch.nn.Conv1d`` of an odd kernel, applied window by window."""

    @property
    def reach(self) -> int:
        """Frames seen to either side, ``p``."""
        return self.kernel_size[0] // 2

    def frames_of(self, lengths: Tensor) -> Tensor:
        """Frames that come out for so many, ``ceil(L / s)``."""
        stride = self.stride[0]
        return torch.div(lengths + stride - 1, stride, rounding_mode="floor")

    def init_past(self, batch_size: int) -> Tensor:
        """The frames before the first one: zeros ``[B, C, p]``."""
        return self.weight.new_zeros(batch_size, self.in_channels, self.reach)

    def forward(  # type: ignore[override]
        self, x: Tensor, conv_chunk_size: int, past: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Convolve ``x`` ``[B, C, L]``, ``L >= 1``, that follows ``past`` ``[B, C, p]``.

        Returns:
            ``[B, C_out, ceil(L / s)]``, and the past of what comes next.
        """
        frames = -(-x.shape[2] // self.stride[0])
        whole = torch.cat((past, x), dim=2)
        # A copy: a view would keep the whole input in memory.
        kept = whole[:, :, whole.shape[2] - self.reach :].clone()
        if is_whole(conv_chunk_size):
            return super().forward(functional.pad(whole, (0, self.reach))), kept
        missing = -x.shape[2] % conv_chunk_size
        windows = functional.pad(whole, (0, missing)).unfold(
            2, self.reach + conv_chunk_size, conv_chunk_size
        )
        windows = functional.pad(windows.transpose(1, 2).flatten(0, 1), (0, self.reach))
        y = super().forward(windows).unflatten(0, (x.shape[0], -1)).transpose(1, 2).flatten(2)
        # With stride 2 a window of odd length gives half a frame too many. The surplus pushes what
        # follows back, and is cut off at the end with the frames it displaced, as published.
        return y[:, :, :frames], kept


class Subsampler(nn.Module):
    """Two convolutions with gated linear units: 100 Hz features to encoder frames.

    The first has stride 2; the second too, as published, where ``subsampling`` is 4, and stride 1
    where it is 2.
    """

    KERNEL = 5

    def __init__(
        self, input_dim: int, conv_channels: int, embed_dim: int, subsampling: int = 4
    ) -> None:
        super().__init__()
        self.conv_layers = nn.ModuleList(
            ChunkConv1d(channels, out_channels, self.KERNEL, stride=stride)
            for channels, out_channels, stride in (
                (input_dim, conv_channels, 2),
                (conv_channels // 2, 2 * embed_dim, subsampling // 2),
            )
        )

    def frames_of(self, lengths: Tensor) -> Tensor:
        """Encoder frames of so many feature frames."""
        for conv in self.conv_layers:
            lengths = conv.frames_of(lengths)  # type: ignore[operator]
        return lengths

    def init_past(self, batch_size: int) -> tuple[Tensor, ...]:
        """The past of each convolution at the start."""
        return tuple(conv.init_past(batch_size) for conv in self.conv_layers)  # type: ignore[operator]

    def forward(
        self,
        features: Tensor,
        conv_chunk_size: int,
        past: tuple[Tensor, ...],
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """``[B, T, F]`` features, zero from ``lengths`` [B] on, to ``[B, T', C]``."""
        x = features.transpose(1, 2)
        kept = []
        for conv, before in zip(self.conv_layers, past, strict=True):
            if lengths is not None:
                # The published code lets the bias turn padding into signal here, which reaches the
                # last frames of the shorter recordings of a batch; alone they would see zeros.
                x = x * valid_mask(lengths, x.shape[2], x.dtype).unsqueeze(1)
                lengths = conv.frames_of(lengths)  # type: ignore[operator]
            x, after = conv(x, conv_chunk_size, before)
            x = functional.glu(x, dim=1)
            kept.append(after)
        return x.transpose(1, 2), tuple(kept)


def valid_mask(lengths: Tensor, frames: int, dtype: torch.dtype) -> Tensor:
    """``[B, frames]``: 1 for the frames of each recording, 0 after its end."""
    return (torch.arange(frames, device=lengths.device) < lengths[:, None]).to(dtype)
