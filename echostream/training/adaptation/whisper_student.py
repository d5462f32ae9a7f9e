"""Whisper's encoder as a student of itself.

Symbols: ``B`` windows, ``T`` encoder frames, ``F`` mel bins, ``C`` channels.
"""

import random
from collections.abc import Sequence
from typing import Any, Self

from torch import Tensor

from echostream.encoder.protocol import EncoderOutput
from echostream.encoder.whisper import WhisperEncoder
from echostream.training.drawn_chunks import Chunking


class WhisperStudent(WhisperEncoder):
    """It starts as its teacher and learns to give in chunks what that gives for a whole window.

    The encoder takes out the mean of its output at each position; here it is put back, because the
    teacher's output has it. The rest of the interface is that of
    :class:`echostream.training.adaptation.student.Student`.
    """

    @property
    def chunked(self) -> Self:
        """The encoder that chunks are drawn for."""
        return self

    def begin(self, features: Sequence[Tensor], targets: Sequence[Tensor], spread: Tensor) -> None:
        """Nothing: it starts as the teacher."""

    def rescale(self, spread: Tensor) -> None:
        """Nothing: its output has the units of the teacher's."""

    def drawn(self, chunking: Chunking, chance: random.Random) -> Chunking:
        """With a position of its own, anywhere in a window of Whisper's: what is given for a frame
        shall not depend on when a stream began."""
        reach = self.config.window_stride + self.config.window_overlap
        return {
            **chunking,
            "first_position": chance.choice(range(0, reach, self.config.window_overlap)),
        }

    def forward(
        self, features: Tensor, lengths: Tensor | None = None, **chunking: Any
    ) -> EncoderOutput:
        """``[B, 2 T, F]`` to ``encoder_out`` ``[B, T, C]`` as in a window of the teacher's."""
        made = super().forward(features, lengths, **chunking)
        y = made["encoder_out"]
        return {**made, "encoder_out": y + self.position_mean[: y.shape[1]]}
