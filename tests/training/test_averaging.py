"""Averages of weights against sums worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from echostream.errors import CheckpointError
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
    assert average_weights([first])["a"].tolist() == [1.0, 2.0]


def test_many_half_precision_weights_do_not_overflow() -> None:
    weights = [{"a": torch.tensor([60_000.0], dtype=torch.float16)}] * 5
    assert average_weights(weights)["a"].tolist() == [60_000.0]


def test_what_cannot_be_averaged_is_refused() -> None:
    with pytest.raises(CheckpointError, match="no checkpoints"):
        average_weights([])
    with pytest.raises(CheckpointError, match="not of one network"):
        average_weights([{"a": torch.zeros(1)}, {"b": torch.zeros(1)}])
    with pytest.raises(CheckpointError, match="not of one network"):
        average_weights([{"a": torch.zeros(1)}, {"a": torch.zeros(2)}])
