"""What every CTC search has: the options on its symbols, and the checks on its log-probabilities.

Symbols: ``T`` encoder frames, ``V`` CTC vocabulary (pieces and blank).
"""

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


def as_scores(log_probs: Tensor, blank: int, suppress: tuple[int, ...]) -> Scores:
    """The log-probabilities ``[T, V]`` as they are, on the CPU; must not be written to.

    Raises:
        ConfigError: if the shape is not ``[T, V]`` or ``V`` is too small for the indices.
    """
    highest = max((blank, *suppress))
    if log_probs.dim() != 2 or log_probs.shape[1] <= highest or not log_probs.is_floating_point():
        raise ConfigError(
            f"log-probabilities of shape {tuple(log_probs.shape)} and type {log_probs.dtype}; "
            f"expected floating point [frames, vocabulary] with a vocabulary of at least "
            f"{highest + 1}: do the CTC head and the tokenizer belong together?"
        )
    if log_probs.dtype != torch.float32 or not log_probs.is_cpu:
        log_probs = log_probs.to("cpu", torch.promote_types(log_probs.dtype, torch.float32))
    scores: Scores = log_probs.detach().numpy()
    return scores


def check_no_nan(best: Scores) -> None:
    """Check the highest scores ``[T]`` of the frames, where a NaN in a frame shows.

    Raises:
        CheckpointError: if there is a NaN, the mark of damaged weights.
    """
    bad = np.isnan(best)
    if bad.any():
        raise CheckpointError(
            f"log-probabilities of frame {int(bad.argmax())} of this step hold NaN; expected "
            "numbers: the weights are damaged or the training diverged, use another checkpoint"
        )


def adjusted(
    given: Scores, blank: int, suppress: tuple[int, ...], blank_penalty: float = 0.0
) -> Scores:
    """Scores ``[T, V]`` with the suppressed indices at minus infinity, the blank made less likely.

    ``blank_penalty`` is subtracted from the blank's log-probability in every frame. The input is
    not changed; the result may be the input and must not be written to.
    """
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
        """The scores ``[T, V]`` to search in, which must not be written to.

        Raises as :func:`as_scores` and :func:`check_no_nan` do.
        """
        given = as_scores(log_probs, self.blank, self.suppress)
        check_no_nan(given.max(axis=1))
        return adjusted(given, self.blank, self.suppress, self.blank_penalty)

    def best_symbols(self, log_probs: Tensor) -> list[int]:
        """The best symbol of each of ``T`` frames; of equals the lowest, of none the blank.

        What ``usable(log_probs).argmax(axis=1)`` says. But where the best as given is nothing that
        the options touch, it is the best, and the scores of a large vocabulary need no copy.
        Raises as :meth:`usable` does.
        """
        scores = as_scores(log_probs, self.blank, self.suppress)
        frames = np.arange(len(scores))
        symbols = scores.argmax(axis=1)
        best = scores[frames, symbols]
        check_no_nan(best)  # To argmax a NaN is the highest number.
        touched = (*self.suppress, self.blank) if self.blank_penalty > 0 else self.suppress
        if self.blank_penalty < 0 or any(symbol in touched for symbol in symbols.tolist()):
            scores = adjusted(scores, self.blank, self.suppress, self.blank_penalty)
            symbols = scores.argmax(axis=1)
            best = scores[frames, symbols]
        symbols[best == -np.inf] = self.blank
        found: list[int] = symbols.tolist()
        return found
