"""What the streaming encoder learns from: Whisper's own output for the whole window.

Symbols: ``f`` feature frames, ``T`` encoder frames, ``F`` mel bins, ``C`` channels.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from echostream.audio.frontend import LEAD_IN_SAMPLES, FrontEnd
from echostream.audio.log_mel import USUAL_PEAK, LogMel, normalised
from echostream.config import AudioConfig
from echostream.constants import FRAME_SHIFT_SAMPLES, SAMPLE_RATE, SUBSAMPLING
from echostream.encoder.stepping import WHOLE_RECORDING
from echostream.encoder.whisper import WhisperEncoder
from echostream.training.adaptation.windows import WindowMaker

POSITION_WINDOWS = 40
"""Windows that the mean of each position is taken over."""
_SMOOTH = 25
"""Neighbouring positions that a mean is taken over too, since windows are few."""


@dataclass(frozen=True, eq=False)
class Example:
    """One window as the student hears it, and what the teacher makes of it."""

    features: NDArray[np.float32]
    """``[f, F]`` of a stream; Whisper's are scaled by the loudest value so far."""
    target: NDArray[np.float32]
    """``[T, C]`` of a window that is heard whole, scaled by the loudest value in it."""


class Teacher:
    """Whisper offline.

    Args:
        encoder: with the weights as they were released.
        frames: encoder frames of an example; the teacher hears the rest of the window too.
        audio: the student's front end; without it, it hears what the teacher hears.
        bfloat16: whether it computes in that, which moves its output by a thirtieth of its spread.
    """

    def __init__(
        self,
        encoder: WhisperEncoder,
        frames: int,
        *,
        audio: AudioConfig | None = None,
        bfloat16: bool = False,
    ) -> None:
        self.encoder = encoder.eval()
        self.bfloat16 = bfloat16
        self.frames = frames
        self.frames_per_second = SAMPLE_RATE // (FRAME_SHIFT_SAMPLES * SUBSAMPLING)
        self._bank = LogMel()
        same = audio is None or audio.features == "whisper"
        self._own = None if same else FrontEnd(None, **vars(audio))

    def features(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """``[f, F]`` of a stream of these samples ``[n]`` at 16 kHz, as long as an example."""
        if self._own is None:
            return self._streamed(self._energies(samples))
        heard, _ = self._own.step(samples, SAMPLE_RATE, self._own.init_state())
        return heard[: self.frames * SUBSAMPLING]

    @torch.no_grad()
    def __call__(self, samples: NDArray[np.float32], *, whole: bool = False) -> Example:
        """The example of a window of samples ``[n]`` at 16 kHz; ``whole``: its target, too, is of
        all frames that were heard."""
        energies = self._energies(samples)
        scaled = normalised(energies, np.full(len(energies), energies.max(), np.float32))
        frames = min(len(energies) // SUBSAMPLING, self.encoder.config.max_positions)
        heard = torch.from_numpy(scaled[: frames * SUBSAMPLING])[None]
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            y = self.encoder(heard, chunk_size=WHOLE_RECORDING)["encoder_out"][0].float()
        y = y if whole else y[: self.frames]
        features = self._streamed(energies) if self._own is None else self.features(samples)
        return Example(features, y.numpy())

    def _energies(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        padded = np.concatenate((np.zeros(LEAD_IN_SAMPLES, np.float32), samples))
        return self._bank.recording_energies(padded)

    def _streamed(self, energies: NDArray[np.float32]) -> NDArray[np.float32]:
        loudest = np.maximum.accumulate(energies.max(axis=1))
        peaks = np.maximum(loudest, np.float32(USUAL_PEAK))
        return normalised(energies, peaks)[: self.frames * SUBSAMPLING]


def spread_of(targets: list[Tensor]) -> Tensor:
    """Standard deviation ``[C]`` of each dimension of targets ``[T, C]``."""
    return torch.cat(targets).std(dim=0) + 1e-4


def position_means(teacher: Teacher, maker: WindowMaker) -> Tensor:
    """The teacher's mean output ``[max_positions, C]`` at each position, over speech of many
    windows."""
    encoder = teacher.encoder
    sums = torch.zeros(teacher.frames, encoder.output_dim)
    for number in tqdm(range(POSITION_WINDOWS), desc="positions", unit="window", leave=False):
        sums += torch.from_numpy(teacher(maker(number)).target)
    means = smoothed(sums / POSITION_WINDOWS)
    return torch.cat((means, means[-1:].expand(encoder.config.max_positions - len(means), -1)))


def smoothed(means: Tensor) -> Tensor:
    """``[T, C]`` means of each position and its neighbours."""
    edges = (_SMOOTH // 2, _SMOOTH // 2)
    padded = functional.pad(means.T[None], edges, mode="replicate")
    return functional.avg_pool1d(padded, _SMOOTH, stride=1)[0].T
