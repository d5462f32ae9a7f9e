"""Feeding a stream to the encoder piece by piece.

Symbols: ``T`` feature frames (100 Hz), ``F`` mel bins, ``n`` encoder frames (50 Hz), ``C``
encoder channels.

Sizes here say how the input is cut on its way in. They never change the output: the encoder's
state is exact, so every frame is encoded once, whatever the cuts.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echostream.audio import FrontEnd
from echostream.constants import SAMPLE_RATE
from echostream.encoder.stream_state import StreamState
from echostream.encoder.zipformer import ZipformerEncoder
from echostream.errors import ConfigError, StateMismatchError, StreamClosedError


class StreamingEncoder:
    """One stream: push features, get encoder frames, finish.

    Args:
        encoder: in evaluation mode; it may serve any number of streams.
        chunking: arguments of :meth:`ZipformerEncoder.init_state`.
    """

    def __init__(self, encoder: ZipformerEncoder, **chunking: Any) -> None:
        self.encoder = encoder
        self._initial = encoder.init_state(1, **chunking)
        self.state: StreamState = self._initial

    def push(self, features: Tensor) -> Tensor:
        """``[T, F]`` new feature frames to ``[n, C]`` new encoder frames, of whole chunks.

        Raises:
            StreamClosedError: after :meth:`finish`.
        """
        return self._step(features, is_final=False)

    def finish(self, features: Tensor | None = None) -> Tensor:
        """The last feature frames, if any, to the last encoder frames; the stream then ends.

        Finishing again gives no frames.
        """
        if features is None:
            features = self._initial.pending[0, :0]
        return self._step(features, is_final=True)

    def reset(self) -> None:
        """Begin a new stream."""
        self.state = self._initial

    def _step(self, features: Tensor, *, is_final: bool) -> Tensor:
        if features.dim() != 2:
            raise StateMismatchError(
                f"features have shape {tuple(features.shape)}; expected [frames, mel bins] of one "
                "stream, for a batch use ZipformerEncoder.step"
            )
        y, _, self.state = self.encoder.step(features[None], self.state, is_final=is_final)
        return y[0]


class ChunkBuffer:
    """Cuts a stream of feature frames into windows of ``chunk_size`` with ``overlap``.

    Input of any size; what does not fill a window is kept.

    Args:
        chunk_size: feature frames of a window, at least 1.
        overlap: feature frames that a window shares with the one before, below ``chunk_size``.
    """

    def __init__(self, chunk_size: int, overlap: int = 0) -> None:
        if chunk_size < 1 or not 0 <= overlap < chunk_size:
            raise ConfigError(
                f"chunk_size is {chunk_size} and overlap {overlap} feature frames; expected "
                "chunk_size from 1 on and overlap from 0 to below chunk_size"
            )
        self.chunk_size = chunk_size
        self.overlap = overlap
        self._kept: Tensor | None = None
        self._fresh = 0

    @property
    def num_waiting(self) -> int:
        """Feature frames that no window has held yet."""
        return self._fresh

    def push(self, features: Tensor) -> list[Tensor]:
        """``[T, F]`` new feature frames to the windows ``[chunk_size, F]`` they complete."""
        kept = features if self._kept is None else torch.cat((self._kept, features))
        self._fresh += len(features)
        windows = []
        hop = self.chunk_size - self.overlap
        while len(kept) >= self.chunk_size:
            windows.append(kept[: self.chunk_size])
            kept = kept[hop:]
            self._fresh = len(kept) - self.overlap
        # A copy, so that a long input is not kept alive by its last few frames.
        self._kept = kept.clone()
        return windows

    def flush(self) -> Tensor | None:
        """The last, shorter window, or ``None`` if every frame has been in one; then empty."""
        window = self._kept if self._fresh > 0 else None
        self.reset()
        return window

    def reset(self) -> None:
        """Forget everything."""
        self._kept = None
        self._fresh = 0


class StreamingPipeline:
    """End to end: audio or features in, encoder frames out.

    Args:
        encoder: in evaluation mode.
        chunk_size: feature frames of a window handed to the encoder at a time.
        overlap: feature frames that windows share; the shared ones are not encoded again.
        front_end: turns audio into features; by default without CMVN, as for an untrained encoder.
    """

    def __init__(
        self,
        encoder: ZipformerEncoder,
        chunk_size: int = 40,
        overlap: int = 10,
        front_end: FrontEnd | None = None,
    ) -> None:
        self.encoder = StreamingEncoder(encoder)
        self.buffer = ChunkBuffer(chunk_size, overlap)
        self.front_end = FrontEnd(None) if front_end is None else front_end
        self.reset()

    def reset(self) -> None:
        """Begin a new stream."""
        self.encoder.reset()
        self.buffer.reset()
        self._audio_state = self.front_end.init_state()
        self._windows = 0
        self._finished = False

    def process(
        self,
        audio_or_features: Tensor | NDArray[np.float32],
        is_final: bool = False,
        sample_rate: int = SAMPLE_RATE,
    ) -> Tensor:
        """New encoder frames ``[n, C]``.

        Args:
            audio_or_features: ``[samples]`` audio, or ``[T, F]`` features; a stream is one or the
                other.
            is_final: whether the stream ends here; what is left is then encoded.
            sample_rate: of the audio, Hz.

        Raises:
            StreamClosedError: if something is pushed after the end without :meth:`reset`.
            AudioFormatError: for audio that cannot be used.
        """
        if self._finished:
            raise StreamClosedError(
                "input was pushed into a finished pipeline; call reset() to begin a new stream"
            )
        features = self._features(audio_or_features, is_final, sample_rate)
        outputs = []
        for window in self.buffer.push(features):
            # All but the first window begin with frames that the encoder has already had.
            outputs.append(self.encoder.push(window[self.buffer.overlap if self._windows else 0 :]))
            self._windows += 1
        if is_final:
            fresh = self.buffer.num_waiting
            rest = self.buffer.flush()
            last = features[:0] if rest is None else rest[len(rest) - fresh :]
            outputs.append(self.encoder.finish(last))
            self._finished = True
        if not outputs:
            return features.new_zeros(0, self.encoder.encoder.config.output_dim)
        return torch.cat(outputs)

    def _features(
        self, given: Tensor | NDArray[np.float32], is_final: bool, sample_rate: int
    ) -> Tensor:
        device = self.encoder.state.pending.device
        if given.ndim == 2:
            return torch.as_tensor(given, dtype=torch.float32, device=device)
        samples = given.cpu().numpy() if isinstance(given, Tensor) else given
        features, state = self.front_end.step(samples, sample_rate, self._audio_state)
        if is_final:
            rest, state = self.front_end.flush(state)
            features = np.concatenate((features, rest))
        self._audio_state = state
        return torch.from_numpy(features).to(device)
