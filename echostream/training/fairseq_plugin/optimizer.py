"""``--optimizer echostream_adamw``: AdamW that decays matrices only and survives a bad batch."""

import logging
from collections.abc import Callable, Iterable
from typing import Any

import torch
from fairseq.optim import FairseqOptimizer, register_optimizer
from fairseq.optim.lr_scheduler import register_lr_scheduler
from fairseq.optim.lr_scheduler.cosine_lr_scheduler import CosineLRSchedule, CosineLRScheduleConfig
from torch import Tensor
from torch.nn import Parameter
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from echostream.training.fairseq_plugin.plugin_options import AdamWConfig

logger = logging.getLogger(__name__)

MOST_SKIPPED = 100  # so many updates without a finite gradient, one after the other, end the run


@register_optimizer("echostream_adamw", dataclass=AdamWConfig)
class AdamW(FairseqOptimizer):  # type: ignore[misc]
    """Loshchilov and Hutter, arXiv 1711.05101.

    An update whose gradient is not finite is skipped: neither weights nor the optimizer's state
    change, the schedule `HeldCosine` waits, and the number of such updates is logged. (With
    ``--amp`` fairseq lowers the loss scale and tries the batch again.)
    """

    def __init__(self, cfg: AdamWConfig, params: Iterable[Parameter]) -> None:
        super().__init__(cfg)
        params = list(params)
        groups = [
            {"params": [p for p in params if p.dim() > 1], "weight_decay": cfg.weight_decay},
            {"params": [p for p in params if p.dim() <= 1], "weight_decay": 0.0},
        ]
        self.skipped = 0
        """Updates that were skipped since the beginning of the run."""
        self.last_was_skipped = False
        self._in_a_row = 0
        self._optimizer = torch.optim.AdamW(groups, fused=True, **self.optimizer_config)

    @property
    def optimizer_config(self) -> dict[str, Any]:
        """What a resumed run takes from its options and not from the checkpoint."""
        return {
            "lr": float(self.cfg.lr[0]),
            "betas": (self.cfg.beta1, self.cfg.beta2),
            "eps": self.cfg.adam_eps,
        }

    def clip_grad_norm(
        self, max_norm: float, aggregate_norm_fn: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """The norm before clipping. Where it is not finite the next :meth:`step` does nothing, and
        0 is given, since fairseq would end the run. Raises `FloatingPointError` after
        `MOST_SKIPPED` such gradients in a row.
        """
        # Not fairseq's own, which takes the norm of each parameter by itself: on a GPU that is some
        # hundred operations more in every update.
        norm = get_total_norm([p.grad for p in self.params if p.grad is not None], foreach=True)
        if aggregate_norm_fn is not None:
            norm = aggregate_norm_fn(norm)
        self.last_was_skipped = not bool(torch.isfinite(norm))
        if not self.last_was_skipped:
            self._in_a_row = 0
            if max_norm > 0:
                clip_grads_with_norm_(self.params, max_norm, norm, foreach=True)
            return norm
        self._in_a_row += 1
        if self._in_a_row >= MOST_SKIPPED:
            raise FloatingPointError(f"{self._in_a_row} updates in a row have no finite gradient")
        if self.cfg.amp:
            return norm
        self.skipped += 1
        logger.warning("an update was skipped, its gradient is not finite (%d)", self.skipped)
        return torch.zeros_like(norm)

    def step(self, closure: Any = None, scale: float = 1.0, groups: Any = None) -> None:
        """One update, or none after a gradient that was not finite."""
        if not self.last_was_skipped:
            super().step(closure, scale, groups)

    def state_dict(self) -> dict[str, Any]:
        """The state of AdamW, and how many updates were skipped."""
        return {**super().state_dict(), "skipped": self.skipped}

    def load_state_dict(
        self, state_dict: dict[str, Any], optimizer_overrides: dict[str, Any] | None = None
    ) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self.skipped = int(state_dict["skipped"])
        super().load_state_dict(state_dict, optimizer_overrides)


@register_lr_scheduler("echostream_cosine", dataclass=CosineLRScheduleConfig)
class HeldCosine(CosineLRSchedule):  # type: ignore[misc]
    """fairseq's ``cosine``, counting the updates that were made: a skipped one holds the rate."""

    def step_update(self, num_updates: int) -> float:
        """The rate after so many updates, skipped ones among them."""
        rate: float = super().step_update(num_updates - getattr(self.optimizer, "skipped", 0))
        return rate
