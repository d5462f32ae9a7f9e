"""``--task echostream_adaptation``: Whisper's encoder learns to stream from its own output.

The loss is the squared error of the encoder's output under a chunk mask, each dimension divided by
the spread of the teacher's; 1.0 would be the teacher's mean. See ``docs/whisper.md``.

Without ``from __future__ import annotations``: fairseq reads the types of the fields.

Symbols: ``T`` encoder frames, ``C`` channels.
"""

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.data import FairseqDataset
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from fairseq.models import BaseFairseqModel, register_model
from fairseq.tasks import FairseqTask, register_task
from omegaconf import MISSING
from torch import Tensor

from echostream.training.adaptation.encoder import base_encoder
from echostream.training.adaptation.teacher import Teacher, spread_of
from echostream.training.adaptation.windows import WindowMaker, find_recordings
from echostream.training.drawn_chunks import choices_for, draw_chunking
from echostream.training.run_record import append_history

logger = logging.getLogger(__name__)

Sample = dict[str, Any]


@dataclass
class AdaptationConfig(FairseqDataclass):  # type: ignore[misc]
    """What ``fairseq-train`` can be told about the task."""

    data: str = field(default=MISSING, metadata={"help": "folders of recordings, joined by ':'"})
    checkpoint: str = field(default=MISSING, metadata={"help": "Whisper's checkpoint folder"})
    work_dir: str = field(default="", metadata={"help": "folder for the history"})
    leave_out: str = field(default="", metadata={"help": "corpora to leave out, comma-separated"})
    epoch_windows: int = field(default=200, metadata={"help": "windows of an epoch"})
    valid_windows: int = field(default=8, metadata={"help": "windows of the held-out error"})
    chunk_sizes: str = field(default="", metadata={"help": "encoder frames to draw chunks from"})
    window_seed: int = field(default=1, metadata={"help": "seed of the windows"})


class WindowDataset(FairseqDataset):  # type: ignore[misc]
    """So many windows an epoch, other ones in each; a process that loads them has a teacher."""

    def __init__(self, maker: WindowMaker, teacher: Teacher, windows: int, training: bool) -> None:
        self.maker, self.teacher, self.windows = maker, teacher, windows
        self.training = training
        self.epoch = 1
        self._kept: dict[int, Sample] = {}
        self.sizes = np.full(windows, teacher.frames)

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        """Not in training."""
        return not self.training

    def set_epoch(self, epoch: int) -> None:
        """Which windows come next."""
        self.epoch = epoch if self.training else 1

    def __len__(self) -> int:
        return self.windows

    def num_tokens(self, index: int) -> int:
        """Encoder frames."""
        return self.teacher.frames

    def size(self, index: int) -> int:
        """Encoder frames."""
        return self.teacher.frames

    def __getitem__(self, index: int) -> Sample:
        number = int((self.epoch - 1) * self.windows + index)
        if number in self._kept:
            return self._kept[number]
        sample = {"number": number, **self.make(number)}
        if not self.training:
            self._kept[number] = sample
        return sample

    def make(self, number: int) -> Sample:
        """The sample of the window of that number."""
        example = self.teacher(self.maker(number))
        return {
            "features": torch.from_numpy(example.features),
            "target": torch.from_numpy(example.target),
        }

    def collater(self, samples: Sequence[Sample]) -> Sample:
        """All windows are of the same length."""
        if not samples:
            return {}
        return {
            "id": torch.tensor([sample["number"] for sample in samples]),
            "nsentences": len(samples),
            "ntokens": sum(len(sample["target"]) for sample in samples),
            "seed": samples[0]["number"],
            "net_input": {"features": torch.stack([sample["features"] for sample in samples])},
            "target": torch.stack([sample["target"] for sample in samples]),
        }


def _measures(log: dict[str, Any]) -> list[str]:
    return sorted(log.keys() - {"loss", "ntokens", "nsentences", "sample_size"})


@register_task("echostream_adaptation", dataclass=AdaptationConfig)
class AdaptationTask(FairseqTask):  # type: ignore[misc]
    """Windows of speech, a teacher, and the held-out error."""

    valid_chunks: tuple[int, ...] = (8, 16, 32, 64)
    """Encoder frames of the chunks that the held-out error is found for."""

    def __init__(self, cfg: AdaptationConfig) -> None:
        super().__init__(cfg)
        # Near zero AdamW's moments are denormal, with which an update takes many times as long.
        torch.set_flush_denormal(True)
        encoder = base_encoder(Path(cfg.checkpoint))
        config = encoder.config
        self.teacher = Teacher(encoder, config.window_stride + config.window_overlap)
        self.recordings = find_recordings(
            [Path(folder) for folder in cfg.data.split(":")],
            [name for name in cfg.leave_out.split(",") if name],
        )
        self.folder = Path(cfg.work_dir)
        self._held_out: list[dict[str, float]] = []
        self._running: dict[str, list[float]] = {}
        self._updates = 0

    @classmethod
    def setup_task(cls, cfg: AdaptationConfig, **_: Any) -> "AdaptationTask":
        """As fairseq makes tasks."""
        return cls(cfg)

    def load_dataset(self, split: str, combine: bool = False, **_: Any) -> None:
        """``train`` or ``valid``."""
        if split in self.datasets:
            return
        training = split == "train"
        windows = self.cfg.epoch_windows if training else self.cfg.valid_windows
        self.datasets[split] = self.make_dataset(split, training, windows)

    def make_dataset(self, split: str, training: bool, windows: int) -> WindowDataset:
        """``train`` or ``valid``."""
        groups = self.recordings.train if training else self.recordings.held_out
        logger.info("%s: %d recordings", split, sum(map(len, groups)))
        maker = WindowMaker(groups, self.cfg.window_seed if training else 0)
        return WindowDataset(maker, self.teacher, windows, training)

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """The student; its loss is scaled by the spread of the held-out targets."""
        model = super().build_model(cfg, from_checkpoint)
        if not bool(model.spread.any()):
            self.load_dataset("valid")
            held_out = self.datasets["valid"]
            model.spread.copy_(spread_of([held_out[i]["target"] for i in range(len(held_out))]))
        return model

    def train_step(
        self,
        sample: Sample,
        model: Any,
        criterion: Any,
        optimizer: Any,
        update_num: int,
        ignore_grad: bool = False,
    ) -> tuple[Tensor, int, dict[str, Any]]:
        """One window under a chunk that is drawn for it."""
        model.train()
        chunk = draw_chunking(model.choices, random.Random(sample["seed"]), False)["chunk_size"]
        loss, size, log = criterion(model, {**sample, "chunk_size": chunk})
        optimizer.backward(loss * 0 if ignore_grad else loss)
        self._updates = update_num + 1
        for name in _measures(log):
            self._running.setdefault(name, []).append(float(log[name]))
        if (update_num + 1) % 25 == 0:
            means = {name: float(np.mean(own)) for name, own in self._running.items()}
            self._write("train", update_num + 1, means)
            self._running = {}
        return loss, size, log

    def begin_valid_epoch(self, epoch: int, model: Any) -> None:
        """Forget what the last validation found."""
        self._held_out = []

    def valid_step(
        self, sample: Sample, model: Any, criterion: Any
    ) -> tuple[Tensor, int, dict[str, Any]]:
        """What is measured in each of the chunks; fairseq sees the last one's loss."""
        model.eval()
        found: dict[str, float] = {}
        with torch.no_grad():
            for chunk in self.valid_chunks:
                loss, size, log = criterion(model, {**sample, "chunk_size": chunk})
                found |= {f"{name}_{chunk}": float(log[name]) for name in _measures(log)}
        self._held_out.append(found)
        return loss, size, log

    def post_validate(self, model: Any, stats: dict[str, Any], agg: Any) -> None:
        """Write down the means."""
        found = {
            name: float(np.mean([own[name] for own in self._held_out]))
            for name in self._held_out[0]
        }
        logger.info("held out: %s", ", ".join(f"{k} {v:.4f}" for k, v in found.items()))
        self._write("held out", self._updates, found)

    def _write(self, part: str, update: int, values: dict[str, float]) -> None:
        rounded = {name: float(f"{value:.5g}") for name, value in values.items()}
        append_history(self.folder, {"part": part, "update": update, **rounded})

    @property
    def source_dictionary(self) -> None:
        """There is none."""

    @property
    def target_dictionary(self) -> None:
        """There is none."""


@dataclass
class AdaptedModelConfig(FairseqDataclass):  # type: ignore[misc]
    """The network is the checkpoint's."""


@register_model("echostream_whisper", dataclass=AdaptedModelConfig)
class AdaptedWhisper(BaseFairseqModel):  # type: ignore[misc]
    """The student: an encoder that starts as the teacher."""

    def __init__(self, checkpoint: Path, chunk_sizes: str) -> None:
        super().__init__()
        self.encoder = base_encoder(checkpoint)
        self.choices = choices_for(self.encoder, chunk_sizes)
        self.register_buffer("spread", torch.zeros(self.encoder.output_dim))

    @classmethod
    def build_model(cls, cfg: AdaptedModelConfig, task: AdaptationTask) -> "AdaptedWhisper":
        """As fairseq makes models."""
        return cls(Path(task.cfg.checkpoint), task.cfg.chunk_sizes)

    def forward(self, features: Tensor, chunk_size: int) -> Tensor:
        """``[B, 2 T, F]`` to ``[B, T, C]``."""
        y: Tensor = self.encoder(features, chunk_size=chunk_size)["encoder_out"]
        return y

    def max_positions(self) -> None:
        """Any."""


@register_criterion("echostream_distillation", dataclass=FairseqDataclass)
class DistillationCriterion(FairseqCriterion):  # type: ignore[misc]
    """See the module."""

    def __init__(self, cfg: FairseqDataclass, task: AdaptationTask) -> None:
        super().__init__(task)

    def forward(
        self, model: Any, sample: Sample, reduce: bool = True
    ) -> tuple[Tensor, int, dict[str, Any]]:
        """Mean of the squared errors, 1, and what is logged."""
        y = model(**sample["net_input"], chunk_size=sample["chunk_size"])
        loss = ((y - sample["target"]) / model.spread).square().mean()
        log = {
            "loss": loss.detach(),
            "error": loss.detach(),
            "ntokens": sample["ntokens"],
            "nsentences": sample["nsentences"],
            "sample_size": 1,
        }
        return loss, 1, log

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """The mean error."""
        losses = [float(log["loss"]) for log in logging_outputs]
        metrics.log_scalar("loss", sum(losses) / len(losses), len(losses), round=4)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """They are averaged."""
        return False
