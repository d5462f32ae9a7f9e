"""What every CTC search has: the options on its symbols, and the checks on its log-probabilities.

Symbols: ``T`` encoder frames, ``V`` CTC vocabulary (pieces and blank).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echostream.errors import CheckpointError, ConfigError
from echostream.registry import check_options, option

Scores = NDArray[np.floating[Any]]
"""``[T, V]`` or ``[V]``, float32 or float64."""


def check_indices(blank: int, suppress: Sequence[int]) -> tuple[int, ...]:
    """The indices to suppress, sorted and without doubles.

    Raises:
        ConfigError: a negative index or one that is not a whole number, or the blank among the
            suppressed ones.
    """
    for value in (blank, *suppress):
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise ConfigError(
                f"CTC index {value!r} in blank={blank!r}, suppress={suppress!r} is not an index; "
                "expected whole numbers of at least 0"
            )
    if blank in suppress:
        raise ConfigError(
            f"the blank ({blank}) is among the suppressed indices {tuple(suppress)}; without it a "
            "CTC search cannot be silent: take it out"
        )
    return tuple(sorted(set(suppress)))


def usable_log_probs(
    log_probs: Tensor, blank: int, suppress: tuple[int, ...], blank_penalty: float = 0.0
) -> Scores:
    """``[T, V]`` scores: the suppressed indices at minus infinity, the blank made less likely.

    ``blank_penalty`` is subtracted from the blank's log-probability in every frame. The
    result is on the CPU and must not be written to; the input is not changed.

    Raises:
        ConfigError: if the shape is not ``[T, V]`` or ``V`` is too small for the indices.
        CheckpointError: if there is a NaN in it, the mark of damaged weights.
    """
    highest = max((blank, *suppress))
    if log_probs.dim() != 2 or log_probs.shape[1] <= highest or not log_probs.is_floating_point():
        raise ConfigError(
            f"log-probabilities of shape {tuple(log_probs.shape)} and type {log_probs.dtype}; "
            f"expected floating point [frames, vocabulary] with a vocabulary of at least "
            f"{highest + 1}: do the CTC head and the tokenizer belong together?"
        )
    dtype = torch.promote_types(log_probs.dtype, torch.float32)
    given = log_probs.detach().to("cpu", dtype).numpy()
    bad = np.isnan(given.max(axis=1))  # The maximum of a row with NaN is NaN.
    if bad.any():
        raise CheckpointError(
            f"log-probabilities of frame {int(bad.argmax())} of this step hold NaN; expected "
            "numbers: the weights are damaged or the training diverged, use another checkpoint"
        )
    if not suppress and blank_penalty == 0.0:
        return given
    scores = given.copy()
    scores[:, suppress] = -np.inf
    scores[:, blank] -= blank_penalty
    return scores


@dataclass(frozen=True)
class CtcSearch:
    """Options that all searches share."""

    blank: int = option(int, "CTC index of the blank", minimum=0)
    blank_penalty: float = option(
        float,
        "subtracted from the blank's log-probability; above 0 a model that is too silent says more",
        default=0.0,
    )
    suppress: tuple[int, ...] = dataclasses.field(
        default=(), metadata={"help": "CTC indices that are never emitted (unknown, control)"}
    )

    def check(self, what: str) -> None:
        """Check the options and bring ``suppress`` in order; ``what`` is for messages."""
        check_options(self, what)
        object.__setattr__(self, "suppress", check_indices(self.blank, self.suppress))

    def usable(self, log_probs: Tensor) -> Scores:
        """The scores to search in; see :func:`usable_log_probs`."""
        return usable_log_probs(log_probs, self.blank, self.suppress, self.blank_penalty)
