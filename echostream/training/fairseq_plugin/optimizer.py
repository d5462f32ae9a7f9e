"""``--optimizer echostream_adamw``: AdamW that decays matrices only and survives a bad batch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

import torch
from fairseq.optim import FairseqOptimizer, register_optimizer
from torch import Tensor
from torch.nn import Parameter
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from echostream.training.fairseq_plugin.options import AdamWConfig

logger = logging.getLogger(__name__)


@register_optimizer("echostream_adamw", dataclass=AdamWConfig)
class AdamW(FairseqOptimizer):  # type: ignore[misc]
    """Loshchilov and Hutter, arXiv 1711.05101.

    An update whose gradient is not finite is skipped: after clipping all gradients are zero, and
    the number of such updates is logged. (With ``--amp`` the loss scale does that.)
    """

    def __init__(self, cfg: AdamWConfig, params: Iterable[Parameter]) -> None:
        super().__init__(cfg)
        params = list(params)
        # --fp16 hands over all parameters as one vector, which is then decayed as a whole.
        flat = len(params) == 1
        matrices = [p for p in params if p.dim() > 1 or flat]
        rest = [p for p in params if p.dim() <= 1 and not flat]
        groups = [
            {"params": matrices, "weight_decay": cfg.weight_decay},
            {"params": rest, "weight_decay": 0.0},
        ]
        self.skipped = 0
        self._optimizer = torch.optim.AdamW(
            [group for group in groups if group["params"]], **self.optimizer_config
        )

    @property
    def optimizer_config(self) -> dict[str, Any]:
        """What a resumed run takes from its options and not from the checkpoint."""
        return {
            "lr": float(self.cfg.lr[0]),
            "betas": (self.cfg.beta1, self.cfg.beta2),
            "eps": self.cfg.adam_eps,
        }

    @property
    def supports_flat_params(self) -> bool:
        """fairseq may hand over one vector of all parameters."""
        return True

    def clip_grad_norm(
        self, max_norm: float, aggregate_norm_fn: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """The norm before clipping; 0 if it was not finite, and then so are all gradients."""
        # Not fairseq's own, which takes the norm of each parameter by itself: on a GPU that is some
        # hundred operations more in every update.
        gradients = [p.grad for p in self.params if p.grad is not None]
        norm = get_total_norm(gradients, foreach=True)
        if aggregate_norm_fn is not None:
            norm = aggregate_norm_fn(norm)
        if max_norm > 0:
            clip_grads_with_norm_(self.params, max_norm, norm, foreach=True)
        if not bool(torch.isfinite(norm)):
            self.skipped += 1
            logger.warning("an update was skipped, its gradient is not finite (%d)", self.skipped)
            for parameter in self.params:
                if parameter.grad is not None:
                    parameter.grad = torch.zeros_like(parameter)
            return torch.zeros_like(norm)
        return norm
