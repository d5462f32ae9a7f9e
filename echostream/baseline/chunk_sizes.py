"""The two chunk sizes of the chunk-Conformer and which of them can be streamed.

``chunk_size`` is what attention sees at once, in encoder frames of 40 ms. ``conv_chunk_size`` is
how far one window of every convolution reaches, in frames at that convolution's own rate: the same
number stands for 10 ms frames in the first layer of the subsampler, 20 ms frames in its second, and
40 ms frames in the Conformer layers.
"""

from __future__ import annotations

from echostream.errors import ConfigError

MAX_CONV_CHUNK = 16
"""The published agents never give the convolutions a larger chunk."""

WHOLE_RECORDING = 99999
"""As both chunk sizes of ``forward``: attention and convolutions see the whole recording."""

WHOLE_FROM = 999
"""A convolution chunk from this number on, like one below 1, is the whole recording."""

SUBSAMPLING = 4
"""Feature frames per encoder frame: the subsampler has two layers of stride 2."""


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
