"""``--task echostream_adaptation``: Whisper's encoder learns to stream from its own output.

See ``docs/whisper.md``. Without ``from __future__ import annotations``: fairseq reads the types of
the fields.

Symbols: ``T`` encoder frames, ``F`` mel bins, ``C`` channels.
"""

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel, register_model
from fairseq.tasks import register_task
from torch import Tensor

from echostream.config import load_config
from echostream.constants import SUBSAMPLING
from echostream.training.adaptation.encoder import base_encoder, student_encoder
from echostream.training.adaptation.few_shapes import FRAMES, padded
from echostream.training.adaptation.teacher import Teacher, position_means, spread_of
from echostream.training.adaptation.whisper_student import WhisperStudent
from echostream.training.adaptation.windows import WindowMaker, find_recordings
from echostream.training.corpus.utterances import parse_names
from echostream.training.drawn_chunks import Chunking, choices_for, draw_chunking
from echostream.training.fairseq_plugin.window_task import (
    Sample,
    WindowDataset,
    WindowTask,
    WindowTaskConfig,
    sample_of,
)

logger = logging.getLogger(__name__)


@dataclass
class AdaptationConfig(WindowTaskConfig):
    """What ``fairseq-train`` can be told about the task."""

    leave_out: str = field(default="", metadata={"help": "corpora to leave out, comma-separated"})
    window_seed: int = field(default=1, metadata={"help": "seed of the windows"})


@register_task("echostream_adaptation", dataclass=AdaptationConfig)
class AdaptationTask(WindowTask):
    """Windows of recordings, and their teacher."""

    def __init__(self, cfg: AdaptationConfig) -> None:
        super().__init__(cfg)
        encoder = base_encoder(Path(cfg.checkpoint))
        config = encoder.config
        frames = config.window_stride + config.window_overlap
        audio = load_config(cfg.student).audio if cfg.student else None
        self.teacher = Teacher(encoder, frames, audio=audio, bfloat16=cfg.bfloat16)
        self.recordings = find_recordings(
            [Path(folder) for folder in cfg.data.split(":")],
            parse_names(cfg.leave_out),
        )

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """A copy of the teacher's encoder takes out what belongs to a position."""
        model = super().build_model(cfg, from_checkpoint)
        encoder = model.encoder
        if isinstance(encoder, WhisperStudent) and not encoder.position_mean.any():
            maker = WindowMaker(self.recordings.train, self.cfg.window_seed + 1)
            encoder.position_mean.copy_(position_means(self.teacher, maker))
        return model

    def make_dataset(self, split: str, training: bool, windows: int) -> WindowDataset:
        """``train`` or ``valid``."""
        groups = self.recordings.train if training else self.recordings.held_out
        logger.info("%s: %d recordings", split, sum(map(len, groups)))
        maker = WindowMaker(groups, self.cfg.window_seed if training else 0)
        # A process that loads windows has a teacher.
        return WindowDataset(
            self.teacher.frames,
            windows,
            training,
            lambda number: sample_of(self.teacher(maker(number))),
        )


class StudentModel(BaseFairseqModel):  # type: ignore[misc]
    """An encoder that learns, the chunks that are drawn for it, and the spread of its targets."""

    with_heads = False
    """Whether a student's CTC heads learn, too."""
    spread: Tensor

    def __init__(self, cfg: WindowTaskConfig) -> None:
        super().__init__()
        self.encoder = student_encoder(
            Path(cfg.checkpoint),
            cfg.student,
            with_heads=self.with_heads,
            grown_from=cfg.grown_from,
        )
        self.choices = choices_for(self.encoder.chunked, cfg.chunk_sizes)
        self.register_buffer("spread", torch.zeros(self.encoder.output_dim))

    @classmethod
    def build_model(cls, cfg: Any, task: WindowTask) -> "StudentModel":
        """As fairseq makes models."""
        return cls(task.cfg)

    def begin(self, held_out: Sequence[Sample]) -> None:
        """Take the spread of held-out targets, by which the loss is scaled."""
        targets = [sample["target"] for sample in held_out]
        self.spread.copy_(spread_of(targets))
        self.encoder.begin([sample["features"] for sample in held_out], targets, self.spread)

    def draw_chunking(self, chance: random.Random) -> Chunking:
        """For one window."""
        return self.encoder.drawn(draw_chunking(self.choices, chance, False), chance)

    def forward(self, features: Tensor, chunking: Chunking) -> dict[str, Tensor]:
        """``[B, 2 T, F]`` to ``encoder_out`` ``[B, T, C]`` as in a window of the teacher's, and
        the log-probabilities of the heads that there are; behind ``T`` there may be more frames,
        which mean nothing."""
        lengths = torch.full((len(features),), features.shape[1], device=features.device)
        features = padded(features, SUBSAMPLING * FRAMES, dim=1)
        made: dict[str, Tensor] = self.encoder(features, lengths=lengths, **chunking)
        return made


@register_model("echostream_student", dataclass=FairseqDataclass)
class EncoderStudent(StudentModel):
    """An encoder: Whisper's, which starts as the teacher, or another."""
