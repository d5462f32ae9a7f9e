"""``--criterion echostream_multitask``: the weighted sum of the tasks' losses.

Each loss counts per unit of its own task, so that weights mean the same whatever the vocabularies:
loss = sum over tasks of weight * nats / units. The units in the denominator are counted over the
whole training part, not the batch, and the batch's own share of them comes in through fairseq's
sample size; then the gradient of a batch does not depend on how it was cut up for processes or for
``--update-freq``.
"""

import math
from typing import Any

import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.logging import metrics
from torch import Tensor
from torch.nn import functional

from echostream.errors import ConfigError
from echostream.training.fairseq_plugin.model import ModelOutput
from echostream.training.fairseq_plugin.plugin_options import MultitaskConfig

LOSSES = {"asr_ctc": ("asr", "source"), "st_ctc": ("st", "target")}
"""The head and the units of each task."""

Logged = dict[str, Any]


@register_criterion("echostream_multitask", dataclass=MultitaskConfig)
class MultitaskCriterion(FairseqCriterion):  # type: ignore[misc]
    """See the module."""

    def __init__(self, cfg: MultitaskConfig, task: Any) -> None:
        super().__init__(task)
        self.weights = {name: float(getattr(cfg, f"{name}_weight")) for name in LOSSES}
        self.first_stage_factors = {"st_ctc": float(cfg.first_stage_st_ctc_weight)}
        for name, weight in self.weights.items():
            if weight < 0 or not math.isfinite(weight):
                raise ConfigError(f"{name}_weight is {weight}; expected 0 or a positive number")
        if not any(self.weights.values()):
            raise ConfigError("all weights are 0: nothing would be trained")
        self.units = dict(zip(LOSSES, task.prepared.units, strict=True))

    def forward(
        self, model: Any, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[Tensor, int, Logged]:
        """Loss, sample size (units of translation) and what is logged, for a batch."""
        return self.score(model(**sample["net_input"]), sample)

    def score(self, output: ModelOutput, sample: dict[str, Any]) -> tuple[Tensor, int, Logged]:
        """As :meth:`forward`, of what the model has given."""
        log: Logged = {"sample_size": sample["ntokens"]}
        log |= {name: sample[name] for name in ("ntokens", "nsentences")}
        total = torch.zeros((), device=output["lengths"].device)
        for name, (head, side) in LOSSES.items():
            weight = self.weights[name]
            if weight == 0:
                continue
            lengths = sample[f"{side}_lengths"]
            nats = ctc_loss(output[head], output["lengths"], sample[side], lengths)
            log[f"{name}_nats"], log[f"{name}_units"] = nats.detach(), int(lengths.sum())
            if sample["first_stage"]:
                weight *= self.first_stage_factors.get(name, 1.0)
            total = total + weight * self.units["st_ctc"] / max(1, self.units[name]) * nats
        log["loss"] = total.detach()
        return total, sample["ntokens"], log

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[Logged]) -> None:
        """Log ``loss`` and each task's nats per unit."""
        sums = summed(logging_outputs)
        for name, value in losses_of(sums).items():
            count = sums["sample_size" if name == "loss" else name.replace("_loss", "_units")]
            metrics.log_scalar(name, value, count, round=3)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """All that is logged are sums."""
        return True


def ctc_loss(log_probs: Tensor, lengths: Tensor, units: Tensor, unit_lengths: Tensor) -> Tensor:
    """CTC loss in nats, summed over the batch (Graves et al. 2006).

    ``log_probs`` are ``[B, t, V]`` of ``lengths`` ``[B]`` frames; ``units`` those of all recordings
    end to end, ``unit_lengths`` ``[B]`` of them. More units than frames can write add nothing.
    """
    by_frame, blank = log_probs.transpose(0, 1), log_probs.shape[2] - 1
    return functional.ctc_loss(
        by_frame, units, lengths, unit_lengths, blank, reduction="sum", zero_infinity=True
    )


def summed(logging_outputs: list[Logged]) -> dict[str, float]:
    """Sums over batches and processes."""
    keys = {key for log in logging_outputs for key in log}
    return {
        key: float(sum(torch.as_tensor(log[key]).item() for log in logging_outputs if key in log))
        for key in keys
    }


def losses_of(sums: dict[str, float]) -> dict[str, float]:
    """The loss, and each task's in nats per unit, of sums over batches."""
    losses = {
        f"{name}_loss": sums[f"{name}_nats"] / sums[f"{name}_units"]
        for name in LOSSES
        if sums.get(f"{name}_units")
    }
    return {**losses, "loss": sums["loss"] / max(1.0, sums["sample_size"])}
