"""An encoder of any kind that learns to give what Whisper's gives.

Symbols: ``B`` windows, ``f`` feature frames, ``F`` mel bins, ``T`` encoder frames, ``E`` the
student's channels, ``C`` the teacher's.
"""

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from echostream.config import SystemConfig
from echostream.encoder import registry
from echostream.encoder.whisper import WhisperEncoder
from echostream.errors import ConfigError
from echostream.model import SpeechModel
from echostream.training.adaptation.teacher import smoothed


def student_system(own: SystemConfig, teacher: SystemConfig) -> SystemConfig:
    """The teacher's system with the encoder of another.

    Raises:
        ConfigError: if the encoder hears other features or gives frames of another length, or the
            teacher has no text decoder.
    """
    decoder = teacher.text_decoder
    if decoder is None:
        raise ConfigError("the teacher has no text decoder; expected a Whisper checkpoint")
    if own.audio.features != teacher.audio.features:
        raise ConfigError(
            f"audio.features of the student is {own.audio.features!r}; expected "
            f"{teacher.audio.features!r} as its teacher's"
        )
    encoder, usual = registry.create(own.encoder), registry.create(teacher.encoder)
    if encoder.frame_ms != usual.frame_ms:
        raise ConfigError(
            f"frames of encoder {own.encoder.name!r} are {encoder.frame_ms} ms long; expected "
            f"{usual.frame_ms} ms as its teacher's"
        )
    decoder = dataclasses.replace(decoder, source_dim=encoder.output_dim)
    return dataclasses.replace(teacher, audio=own.audio, encoder=own.encoder, text_decoder=decoder)


class Student(nn.Module):
    """An encoder, a linear map to the teacher's channels, and what belongs to a position.

    The teacher knows where in its window a frame stands, the student does not: what the teacher
    gives at a position whatever is said is a table of its own, which goes to the decoder.

    Args:
        config: whose encoder the student is; it has random weights.
        teacher: tells channels and positions.
    """

    positions: nn.Parameter
    spread: Tensor
    feature_mean: Tensor
    feature_std: Tensor

    def __init__(self, config: SystemConfig, teacher: WhisperEncoder) -> None:
        super().__init__()
        self.encoder = registry.create(config.encoder)
        channels, frames = teacher.output_dim, teacher.config.max_positions
        self.output_dim = channels
        self.source_map = nn.Linear(self.encoder.output_dim, channels)
        self.positions = nn.Parameter(torch.zeros(frames, channels))
        self.register_buffer("spread", torch.ones(channels))
        self.register_buffer("feature_mean", torch.zeros(teacher.input_dim))
        self.register_buffer("feature_std", torch.ones(teacher.input_dim))

    @torch.no_grad()
    def begin(self, features: Sequence[Tensor], targets: Sequence[Tensor], spread: Tensor) -> None:
        """Take the statistics of some windows, so that the student starts as the teacher's mean.

        Args:
            features: ``[2 T, F]`` each.
            targets: ``[T, C]`` each.
            spread: ``[C]`` of the targets; the map learns in units of it.
        """
        frames = torch.cat(tuple(features))
        self.feature_mean.copy_(frames.mean(dim=0))
        self.feature_std.copy_(frames.std(dim=0).clamp_min(1e-3))
        self.spread.copy_(spread)
        means = smoothed(torch.stack(tuple(targets)).mean(dim=0)) / spread
        self.positions[: len(means)] = means
        self.positions[len(means) :] = means[-1]

    def forward(self, features: Tensor, **chunking: int | None) -> dict[str, Tensor]:
        """``[B, f, F]`` to ``encoder_out`` ``[B, T, C]``, as the teacher's call."""
        normal = (features - self.feature_mean) / self.feature_std
        frames = self.encoder(normal, **chunking)["encoder_out"]
        y = self.source_map(frames) + self.positions[: frames.shape[1]]
        return {"encoder_out": self.spread * y}


def into_system(student: Student, model: SpeechModel) -> None:
    """Put a student and what its decoder needs to know into a system of :func:`student_system`."""
    decoder, scale = model.text_decoder, student.spread
    model.encoder.load_state_dict(student.encoder.state_dict())
    model.cmvn_mean.copy_(student.feature_mean)
    model.cmvn_std.copy_(student.feature_std)
    decoder.source_map.weight.copy_(scale[:, None] * student.source_map.weight)
    decoder.source_map.bias.copy_(scale * student.source_map.bias)
    decoder.source_positions.copy_(scale * student.positions)
