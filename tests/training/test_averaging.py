"""Averages of weights against sums worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from echostream.training.averaging import RunningAverage, average_weights


def test_the_running_average_is_the_weighted_sum_of_what_was_seen() -> None:
    network = nn.BatchNorm1d(1)
    average = RunningAverage(network, decay=0.5)
    expected = 1.0
    for update, value in enumerate((3.0, -1.0, 10.0, 2.0), start=1):
        with torch.no_grad():
            network.weight.fill_(value)
        network.num_batches_tracked.add_(1)
        average.update(network, update)
        decay = min(0.5, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * value
    assert float(average.network.weight) == pytest.approx(expected, rel=1e-6)
    assert int(average.network.num_batches_tracked) == 4
    assert network.weight.item() == 2.0 and not average.network.weight.requires_grad


def test_checkpoints_are_averaged_tensor_by_tensor() -> None:
    first = {"a": torch.tensor([1.0, 2.0]), "count": torch.tensor(3)}
    second = {"a": torch.tensor([2.0, 6.0]), "count": torch.tensor(8)}
    mean = average_weights([first, second])
    assert mean["a"].tolist() == [1.5, 4.0]
    assert int(mean["count"]) == 8
    # Sums of half precision would overflow.
    large = [{"a": torch.tensor([60_000.0], dtype=torch.float16)}] * 5
    assert average_weights(large)["a"].tolist() == [60_000.0]
