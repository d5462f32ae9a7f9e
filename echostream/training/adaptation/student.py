"""An encoder of any kind that learns to give what Whisper's gives.

Symbols: ``B`` windows, ``f`` feature frames, ``F`` mel bins, ``T`` encoder frames, ``E`` the
student's channels, ``C`` the teacher's, ``V`` CTC vocabulary.
"""

import dataclasses
import random
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from echostream.config import SystemConfig
from echostream.decoder.ctc.ctc_head import CtcHead
from echostream.encoder import registry
from echostream.encoder.whisper import WhisperEncoder
from echostream.errors import ConfigError
from echostream.model import SpeechModel
from echostream.training.adaptation.teacher import smoothed
from echostream.training.drawn_chunks import Chunking

HEADS = "heads."


def student_system(
    own: SystemConfig, teacher: SystemConfig, *, with_heads: bool = True
) -> SystemConfig:
    """The teacher's system with encoder and CTC heads of another.

    Args:
        own: of the student.
        teacher: a Whisper system.
        with_heads: whether there are texts for the heads to learn from; else it has none.

    Raises:
        ConfigError: if the encoder gives frames of another length, or the teacher has no text
            decoder.
    """
    decoder = teacher.text_decoder
    if decoder is None:
        raise ConfigError("the teacher has no text decoder; expected a Whisper checkpoint")
    encoder, usual = registry.create(own.encoder), registry.create(teacher.encoder)
    if encoder.frame_ms != usual.frame_ms:
        raise ConfigError(
            f"frames of encoder {own.encoder.name!r} are {encoder.frame_ms} ms long; expected "
            f"{usual.frame_ms} ms as its teacher's"
        )
    decoder = dataclasses.replace(decoder, source_dim=encoder.output_dim)
    return dataclasses.replace(
        teacher,
        audio=own.audio,
        encoder=own.encoder,
        text_decoder=decoder,
        asr_vocab_size=own.asr_vocab_size if with_heads else 0,
        st_vocab_size=own.st_vocab_size if with_heads else 0,
        decoder=own.decoder,
    )


class Student(nn.Module):
    """An encoder, a linear map to the teacher's channels, and what belongs to a position.

    The teacher knows where in its window a frame stands, the student does not: what the teacher
    gives at a position whatever is said is a table of its own, which goes to the decoder.

    Its CTC heads read its own channels and learn from texts alone.

    Args:
        config: whose encoder and heads the student has; their weights are random.
        teacher: tells channels and positions.
    """

    positions: nn.Parameter
    spread: Tensor
    feature_mean: Tensor
    feature_std: Tensor

    def __init__(self, config: SystemConfig, teacher: WhisperEncoder) -> None:
        super().__init__()
        self.features = config.audio.features
        self.encoder = registry.create(config.encoder)
        channels, frames = teacher.output_dim, teacher.config.max_positions
        self.output_dim = channels
        self.source_map = nn.Linear(self.encoder.output_dim, channels)
        sizes = {"asr": config.asr_vocab_size, "st": config.st_vocab_size}
        self.heads = nn.ModuleDict(
            {name: CtcHead(self.encoder.output_dim, size) for name, size in sizes.items() if size}
        )
        self.positions = nn.Parameter(torch.zeros(frames, channels))
        self.register_buffer("spread", torch.ones(channels))
        self.register_buffer("feature_mean", torch.zeros(teacher.input_dim))
        self.register_buffer("feature_std", torch.ones(teacher.input_dim))

    @property
    def chunked(self) -> Any:
        """The encoder that chunks are drawn for."""
        return self.encoder

    @torch.no_grad()
    def begin(self, features: Sequence[Tensor], targets: Sequence[Tensor], spread: Tensor) -> None:
        """Take the statistics of some windows, so that the student starts as the teacher's mean;
        those of the features only if it was not grown.

        Args:
            features: ``[2 T, F]`` each.
            targets: ``[T, C]`` each.
            spread: ``[C]`` of the targets; the map learns in units of it.
        """
        if not self.feature_mean.any():
            frames = torch.cat(tuple(features))
            self.feature_mean.copy_(frames.mean(dim=0))
            self.feature_std.copy_(frames.std(dim=0).clamp_min(1e-3))
        self.spread.copy_(spread)
        # Windows that end early say nothing of later positions.
        rows = torch.nn.utils.rnn.pad_sequence(list(targets), padding_value=torch.nan)
        means = smoothed(rows.nanmean(dim=1)) / spread
        self.positions[: len(means)] = means
        self.positions[len(means) :] = means[-1]

    @torch.no_grad()
    def rescale(self, spread: Tensor) -> None:
        """Let the map learn in units of another ``spread`` [C]; nothing else changes."""
        ratio = self.spread / spread
        self.source_map.weight.mul_(ratio[:, None])
        self.source_map.bias.mul_(ratio)
        self.positions.mul_(ratio)
        self.spread.copy_(spread)

    def drawn(self, chunking: Chunking, chance: random.Random) -> Chunking:
        """As it is: a student knows no position."""
        return chunking

    def forward(self, features: Tensor, **chunking: int | None) -> dict[str, Tensor]:
        """``[B, f, F]`` to ``encoder_out`` ``[B, T, C]``, as the teacher's call, and by the name
        of each head its log-probabilities ``[B, T, V]``."""
        normal = (features - self.feature_mean) / self.feature_std
        frames = self.encoder(normal, **chunking)["encoder_out"]
        y = self.source_map(frames) + self.positions[: frames.shape[1]]
        log_probs = {name: head(frames) for name, head in self.heads.items()}
        return {"encoder_out": self.spread * y, **log_probs}


def into_system(student: Student, model: SpeechModel) -> None:
    """Put a student and what its decoder needs to know into a system of :func:`student_system`."""
    decoder, scale = model.text_decoder, student.spread
    model.encoder.load_state_dict(student.encoder.state_dict())
    for name, head in student.heads.items():
        model.heads[name].load_state_dict(head.state_dict())
    model.cmvn_mean.copy_(student.feature_mean)
    model.cmvn_std.copy_(student.feature_std)
    decoder.source_map.weight.copy_(scale[:, None] * student.source_map.weight)
    decoder.source_map.bias.copy_(scale * student.source_map.bias)
    decoder.source_positions.copy_(scale * student.positions)


def from_system(model: SpeechModel) -> dict[str, Tensor]:
    """The state of a student that :func:`into_system` has put there, in units of one; its heads are
    among it only if the system has them."""
    decoder = model.text_decoder
    state = {
        "source_map.weight": decoder.source_map.weight,
        "source_map.bias": decoder.source_map.bias,
        "positions": decoder.source_positions,
        "spread": torch.ones(decoder.config.embed_dim),
        "feature_mean": model.cmvn_mean,
        "feature_std": model.cmvn_std,
    }
    state |= {f"encoder.{name}": own for name, own in model.encoder.state_dict().items()}
    for head, module in model.heads.items():
        state |= {f"{HEADS}{head}.{name}": own for name, own in module.state_dict().items()}
    return state
