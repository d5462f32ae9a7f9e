"""``--criterion echostream_multitask``: the weighted sum of the tasks' losses.

Each loss counts per unit of its own task, so that weights mean the same whatever the vocabularies:
loss = sum over tasks of weight * nats / units. The units in the denominator are counted over the
whole training part, not the batch, and the batch's own share of them comes in through fairseq's
sample size; then the gradient of a batch does not depend on how it was cut up for processes or for
``--update-freq``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.logging import metrics
from torch import Tensor

from echostream.errors import ConfigError
from echostream.training.ctc_loss import ctc_loss
from echostream.training.fairseq_plugin.interfaces import ModelOutput, PreparedTask, Sample
from echostream.training.fairseq_plugin.plugin_options import MultitaskConfig

TaskLoss = Callable[[ModelOutput, Sample], tuple[Tensor, int]]
"""The nats of a batch, summed, and the units they are for."""


def asr_ctc(output: ModelOutput, sample: Sample) -> tuple[Tensor, int]:
    """Transcript by CTC."""
    units = sample["source_lengths"]
    loss = ctc_loss(output["asr"], output["lengths"], sample["source"], units)
    return loss, int(units.sum())


def st_ctc(output: ModelOutput, sample: Sample) -> tuple[Tensor, int]:
    """Translation by CTC."""
    units = sample["target_lengths"]
    loss = ctc_loss(output["st"], output["lengths"], sample["target"], units)
    return loss, int(units.sum())


LOSSES: dict[str, TaskLoss | None] = {
    "asr_ctc": asr_ctc,
    "st_ctc": st_ctc,
    "mt": None,  # label-smoothed cross-entropy of the text decoder
    "unit": None,  # CTC over discrete speech units
}
"""StreamSpeech's four tasks (arXiv 2406.03049, section 3.3); ``None`` has no decoder yet."""


@register_criterion("echostream_multitask", dataclass=MultitaskConfig)
class MultitaskCriterion(FairseqCriterion):  # type: ignore[misc]
    """See the module."""

    def __init__(self, cfg: MultitaskConfig, task: PreparedTask) -> None:
        super().__init__(task)
        self.weights = {name: float(getattr(cfg, f"{name}_weight")) for name in LOSSES}
        self.first_stage_factors = {"st_ctc": float(cfg.first_stage_st_ctc_weight)}
        for name, weight in self.weights.items():
            if weight < 0 or not math.isfinite(weight):
                raise ConfigError(f"{name}_weight is {weight}; expected 0 or a positive number")
            if weight > 0 and LOSSES[name] is None:
                raise ConfigError(
                    f"{name}_weight is {weight}, but there is no {name} decoder to train yet; "
                    "expected 0"
                )
        if not any(self.weights.values()):
            raise ConfigError("all weights are 0: nothing would be trained")
        source, target = task.prepared.units
        self.units = {"asr_ctc": source, "st_ctc": target}
        self.reference_units = target

    def forward(
        self, model: Any, sample: Sample, reduce: bool = True
    ) -> tuple[Tensor, int, dict[str, Any]]:
        """Loss, sample size (units of translation) and what is logged, for a batch."""
        return self.score(model(**sample["net_input"]), sample)

    def score(self, output: ModelOutput, sample: Sample) -> tuple[Tensor, int, dict[str, Any]]:
        """As :meth:`forward`, of what the model has given."""
        total: Tensor | None = None
        log: dict[str, Any] = {
            "ntokens": sample["ntokens"],
            "nsentences": sample["nsentences"],
            "sample_size": sample["ntokens"],
        }
        for name, weight in self.weights.items():
            task_loss = LOSSES[name]
            if weight == 0 or task_loss is None:
                continue
            nats, units = task_loss(output, sample)
            log[f"{name}_nats"], log[f"{name}_units"] = nats.detach(), units
            if sample["first_stage"]:
                weight *= self.first_stage_factors.get(name, 1.0)
            part = weight * self.reference_units / max(1, self.units[name]) * nats
            total = part if total is None else total + part
        assert total is not None
        log["loss"] = total.detach()
        return total, sample["ntokens"], log

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Log ``loss`` and each task's nats per unit."""
        sums = summed(logging_outputs)
        size = sums.get("sample_size", 0.0)
        metrics.log_scalar("loss", sums["loss"] / max(1.0, size), size, round=3)
        for name in LOSSES:
            units = sums.get(f"{name}_units", 0.0)
            if units:
                metrics.log_scalar(f"{name}_loss", sums[f"{name}_nats"] / units, units, round=3)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """All that is logged are sums."""
        return True


def summed(logging_outputs: list[dict[str, Any]]) -> dict[str, float]:
    """Sums over batches and processes."""
    keys = {key for log in logging_outputs for key in log}
    return {
        key: float(sum(torch.as_tensor(log[key]).item() for log in logging_outputs if key in log))
        for key in keys
    }
