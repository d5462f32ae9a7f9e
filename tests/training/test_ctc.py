"""CTC: the loss against a sum over all alignments, and greedy search."""

import itertools
import math

import pytest
import torch

from echostream.training.evaluation import best_path

pytest.importorskip("fairseq", reason="fairseq is not installed")

from echostream.training.fairseq_plugin.criterion import ctc_loss  # noqa: E402


def nats(log_probs: torch.Tensor, units: tuple[int, ...]) -> float:
    """Minus the log of the probability of all paths ``[T, V]`` that collapse to ``units``."""
    frames, size = log_probs.shape
    total = 0.0
    for path in itertools.product(range(size), repeat=frames):
        collapsed = tuple(unit for unit, _ in itertools.groupby(path) if unit != size - 1)
        if collapsed == units:
            total += math.exp(sum(float(log_probs[t, u]) for t, u in enumerate(path)))
    return -math.log(total)


def test_ctc_loss_is_minus_log_of_the_sum_over_alignments() -> None:
    log_probs = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(1)).log_softmax(2)
    loss = ctc_loss(log_probs, torch.tensor([4, 3]), torch.tensor([0, 1, 1]), torch.tensor([2, 1]))
    expected = nats(log_probs[0], (0, 1)) + nats(log_probs[1, :3], (1,))
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_a_recording_with_more_units_than_frames_adds_nothing() -> None:
    log_probs = torch.zeros(1, 2, 3).log_softmax(2)
    loss = ctc_loss(log_probs, torch.tensor([2]), torch.tensor([0, 0, 0]), torch.tensor([3]))
    assert float(loss) == 0.0


def test_best_path_collapses_repeats_and_drops_blanks() -> None:
    path = [2, 0, 0, 2, 0, 1, 1, 2]
    assert best_path(torch.eye(3)[path].log()) == [0, 0, 1]
