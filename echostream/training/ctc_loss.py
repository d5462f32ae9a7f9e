"""Connectionist temporal classification: the loss, and the shortest way to a transcript.

Symbols: ``B`` recordings, ``T`` encoder frames, ``V`` units and the blank, which is last.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def ctc_loss(log_probs: Tensor, lengths: Tensor, units: Tensor, unit_lengths: Tensor) -> Tensor:
    """CTC loss in nats, summed over the batch (Graves et al. 2006).

    ``log_probs`` are ``[B, T, V]`` of ``lengths`` ``[B]`` frames; ``units`` those of all recordings
    end to end, ``unit_lengths`` ``[B]`` of them. More units than frames can write add nothing.
    """
    return functional.ctc_loss(
        log_probs.transpose(0, 1),
        units,
        lengths,
        unit_lengths,
        blank=log_probs.shape[2] - 1,
        reduction="sum",
        zero_infinity=True,
    )


def best_path(log_probs: Tensor) -> list[int]:
    """Units of the most probable path of ``[T, V]``."""
    units: list[int] = torch.unique_consecutive(log_probs.argmax(dim=1)).tolist()
    return [unit for unit in units if unit != log_probs.shape[1] - 1]
