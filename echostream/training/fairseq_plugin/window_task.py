"""What all tasks have whose student learns a teacher's output, window by window.

The loss is the squared error of the encoder's output under a chunk mask, each dimension divided by
the spread of the teacher's; 1.0 would be the teacher's mean. See ``docs/whisper.md``.

Without ``from __future__ import annotations``: fairseq reads the types of the fields.

Symbols: ``T`` encoder frames, ``C`` channels.
"""

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.data import FairseqDataset
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from fairseq.tasks import FairseqTask
from omegaconf import MISSING
from torch import Tensor

from echostream.training.adaptation.few_shapes import keep_compiled
from echostream.training.adaptation.teacher import Example
from echostream.training.fairseq_checkpoints import AVERAGE
from echostream.training.fairseq_plugin.running_average import AveragedParameters
from echostream.training.run_record import append_history

logger = logging.getLogger(__name__)

Sample = dict[str, Any]


@dataclass
class WindowTaskConfig(FairseqDataclass):  # type: ignore[misc]
    """What ``fairseq-train`` can be told about such a task."""

    data: str = field(default=MISSING, metadata={"help": "folders, joined by ':'"})
    checkpoint: str = field(default=MISSING, metadata={"help": "the teacher's checkpoint folder"})
    student: str = field(default="", metadata={"help": "configuration of another encoder"})
    grown_from: str = field(default="", metadata={"help": "checkpoint of a smaller encoder"})
    work_dir: str = field(default="", metadata={"help": "folder for the history"})
    epoch_windows: int = field(default=200, metadata={"help": "windows of an epoch"})
    valid_windows: int = field(default=8, metadata={"help": "windows of the held-out error"})
    chunk_sizes: str = field(default="", metadata={"help": "encoder frames to draw chunks from"})
    bfloat16: bool = field(default=False, metadata={"help": "compute updates in bfloat16"})


class WindowDataset(FairseqDataset):  # type: ignore[misc]
    """So many windows an epoch, each of ``frames`` encoder frames; others in each training epoch.

    ``make`` gives the features and the target of the window of a number, and what else the
    criterion asks for.
    """

    can_reuse_epoch_itr_across_epochs = False  # an epoch has examples of its own

    def __init__(
        self, frames: int, windows: int, training: bool, make: Callable[[int], Sample]
    ) -> None:
        self.frames, self.windows, self.training, self.make = frames, windows, training, make
        self.epoch = 1
        self._kept: dict[int, Sample] = {}
        self.sizes = np.full(windows, frames)

    def set_epoch(self, epoch: int) -> None:
        """Which windows come next."""
        self.epoch = epoch if self.training else 1

    def __len__(self) -> int:
        return self.windows

    def num_tokens(self, index: int) -> int:
        """Encoder frames."""
        return self.frames

    def __getitem__(self, index: int) -> Sample:
        number = int((self.epoch - 1) * self.windows + index)
        if number in self._kept:
            return self._kept[number]
        sample = {"number": number, **self.make(number)}
        if not self.training:
            self._kept[number] = sample
        return sample

    def collater(self, samples: Sequence[Sample]) -> Sample:
        """Windows of one length; what else there is of a window comes of one alone."""
        if not samples:
            return {}
        others = samples[0].keys() - {"number", "features", "target"}
        return {
            **{name: samples[0][name] for name in others},
            "id": torch.tensor([sample["number"] for sample in samples]),
            "nsentences": len(samples),
            "ntokens": sum(len(sample["target"]) for sample in samples),
            "seed": samples[0]["number"],
            "net_input": {"features": torch.stack([sample["features"] for sample in samples])},
            "target": torch.stack([sample["target"] for sample in samples]),
        }


def sample_of(example: Example) -> Sample:
    """A window as tensors."""
    return {
        "features": torch.from_numpy(example.features),
        "target": torch.from_numpy(example.target),
    }


def _measures(log: dict[str, Any]) -> list[str]:
    return sorted(log.keys() - {"loss", "ntokens", "nsentences", "sample_size"})


class WindowTask(FairseqTask):  # type: ignore[misc]
    """Windows of speech with a teacher's output, and the held-out error of a student."""

    valid_chunks: tuple[int, ...] = (8, 16, 32, 64)
    """Encoder frames of the chunks that the held-out error is found for."""

    average: AveragedParameters
    """What validation hears, and what is exported."""

    def __init__(self, cfg: WindowTaskConfig) -> None:
        super().__init__(cfg)
        # Near zero AdamW's moments are denormal, with which an update takes many times as long.
        torch.set_flush_denormal(True)
        keep_compiled()
        self.folder = Path(cfg.work_dir)
        self._held_out: list[dict[str, float]] = []
        self._running: dict[str, list[float]] = {}
        self._updates = 0

    @classmethod
    def setup_task(cls, cfg: WindowTaskConfig, **_: Any) -> "WindowTask":
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
        raise NotImplementedError

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """The student, which begins with statistics of the held-out windows."""
        model = super().build_model(cfg, from_checkpoint)
        self.load_dataset("valid")
        held_out = self.datasets["valid"]
        model.begin([held_out[number] for number in range(len(held_out))])
        self.average = AveragedParameters(model)
        return model

    def optimizer_step(self, optimizer: Any, model: Any, update_num: int) -> None:
        """One update of the weights and of their average."""
        super().optimizer_step(optimizer, model, update_num)
        self.average.update(update_num + 1)

    def get_checkpoint_dict(self) -> dict[str, Any]:
        """What fairseq puts into a checkpoint for the task: the averaged weights."""
        values = {name: value.cpu() for name, value in self.average.values.items()}
        return {type(self).__name__: {AVERAGE: values}}

    def set_checkpoint_dict(self, values: dict[str, Any]) -> None:
        """Go on from what :meth:`get_checkpoint_dict` gave."""
        self.average.values = dict(values[AVERAGE])

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
        chunking = model.draw_chunking(random.Random(sample["seed"]))
        device = sample["target"].device.type
        # Weights, their moments and what is held out stay in float32.
        with torch.autocast(device, torch.bfloat16, enabled=self.cfg.bfloat16):
            loss, size, log = criterion(model, {**sample, "chunking": chunking})
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
        """Forget what the last validation found; it hears the averaged weights."""
        self._held_out = []
        self.average.swap()

    def valid_step(
        self, sample: Sample, model: Any, criterion: Any
    ) -> tuple[Tensor, int, dict[str, Any]]:
        """What is measured in each of the chunks; fairseq sees the last one's loss."""
        model.eval()
        found: dict[str, float] = {}
        with torch.no_grad():
            for chunk in self.valid_chunks:
                chunking = {"chunk_size": chunk}
                loss, size, log = criterion(model, {**sample, "chunking": chunking})
                found |= {f"{name}_{chunk}": float(log[name]) for name in _measures(log)}
        self._held_out.append(found)
        return loss, size, log

    def post_validate(self, model: Any, stats: dict[str, Any], agg: Any) -> None:
        """Write down what was found; TensorBoard has it of fairseq's ``stats``."""
        self.average.swap()
        found = self.held_out()
        stats.update(found)
        logger.info("held out: %s", ", ".join(f"{k} {v:.4f}" for k, v in found.items()))
        self._write("held out", self._updates, found)

    def held_out(self) -> dict[str, float]:
        """Means by measure and chunk, over the held-out windows that have it: a window without a
        translation has no loss of one."""
        found: dict[str, list[float]] = {}
        for own in self._held_out:
            for name, value in own.items():
                found.setdefault(name, []).append(value)
        return {name: float(np.mean(values)) for name, values in found.items()}

    def _write(self, part: str, update: int, values: dict[str, float]) -> None:
        rounded = {name: float(f"{value:.5g}") for name, value in values.items()}
        append_history(self.folder, {"part": part, "update": update, **rounded})


def error_of(frames: Tensor, target: Tensor, spread: Tensor) -> Tensor:
    """Mean squared error of ``[B, T, C]`` in units of ``[C]``; frames behind ``T`` do not count."""
    return ((frames[:, : target.shape[1]] - target) / spread).square().mean()


@register_criterion("echostream_distillation", dataclass=FairseqDataclass)
class DistillationCriterion(FairseqCriterion):  # type: ignore[misc]
    """See the module."""

    measures: tuple[str, ...] = ("loss",)
    """What fairseq reports means of."""

    def forward(
        self, model: Any, sample: Sample, reduce: bool = True
    ) -> tuple[Tensor, int, dict[str, Any]]:
        """Mean of the squared errors, 1, and what is logged."""
        made = model(**sample["net_input"], chunking=sample["chunking"])
        loss = error_of(made["encoder_out"], sample["target"], model.spread)
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
        """Means."""
        for name in cls.measures:
            if values := [float(log[name]) for log in logging_outputs if name in log]:
                metrics.log_scalar(name, float(np.mean(values)), len(values), round=4)
