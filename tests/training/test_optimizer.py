"""An update without a finite gradient changes nothing: weights, moments, averages, the rate."""

import copy
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import BatchNorm1d, Parameter

pytest.importorskip("fairseq", reason="fairseq is not installed")

from fairseq.optim.lr_scheduler.cosine_lr_scheduler import CosineLRScheduleConfig  # noqa: E402

from echostream.training.fairseq_plugin.optimizer import MOST_SKIPPED, AdamW, HeldCosine  # noqa: E402
from echostream.training.fairseq_plugin.plugin_options import AdamWConfig, SpeechTaskConfig  # noqa: E402
from echostream.training.fairseq_plugin.running_average import RunningAverage  # noqa: E402
from echostream.training.fairseq_plugin.task import SpeechTask  # noqa: E402
from echostream.training.preparation import prepare  # noqa: E402

from .conftest import ZIPFORMER  # noqa: E402


def start(amp: bool = False) -> tuple[AdamW, HeldCosine]:
    chance = torch.Generator().manual_seed(1)
    weights = [Parameter(torch.randn(shape, generator=chance)) for shape in ((3, 4), (4,))]
    optimizer = AdamW(AdamWConfig(lr=[0.1], weight_decay=0.1, amp=amp), weights)
    config = CosineLRScheduleConfig(warmup_updates=2, warmup_init_lr=0.01, max_update=9, lr=[0.1])
    return optimizer, HeldCosine(config, optimizer)


def run(optimizer: AdamW, rate: HeldCosine, gradients: list[float], done: int = 0) -> None:
    for count, value in enumerate(gradients, start=done + 1):
        for parameter in optimizer.params:
            parameter.grad = torch.full_like(parameter, 0.5)
            parameter.grad.view(-1)[0] = value
        optimizer.clip_grad_norm(1.0)
        optimizer.step()
        rate.step_update(count)


def state(optimizer: AdamW) -> list[Any]:
    moments = [optimizer.optimizer.state[p] for p in optimizer.params]
    return copy.deepcopy([list(optimizer.params), moments, optimizer.get_lr()])


@pytest.mark.parametrize("bad", [float("nan"), -float("inf")])
def test_nothing_moves(bad: float, caplog: pytest.LogCaptureFixture) -> None:
    optimizer, rate = start()
    run(optimizer, rate, [1.0, 2.0, 3.0])
    before = state(optimizer)
    with caplog.at_level(logging.WARNING):
        run(optimizer, rate, [bad, bad], done=3)
    torch.testing.assert_close(state(optimizer), before, rtol=0, atol=0)
    assert "not finite (2)" in caplog.text
    # Resumed elsewhere, the run goes on as one that never had those batches.
    resumed, resumed_rate = start()
    for own, saved in zip(resumed.params, optimizer.params, strict=True):
        own.data.copy_(saved)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()), resumed.optimizer_config)
    resumed_rate.step_update(5)
    run(resumed, resumed_rate, [4.0], done=5)
    never, never_rate = start()
    run(never, never_rate, [1.0, 2.0, 3.0, 4.0])
    torch.testing.assert_close(state(resumed), state(never), rtol=0, atol=0)


def test_with_amp_fairseq_sees_the_norm_and_tries_again() -> None:
    optimizer, _ = start(amp=True)
    next(optimizer.params).grad = torch.full((3, 4), float("inf"))
    assert not torch.isfinite(optimizer.clip_grad_norm(1.0))
    assert optimizer.skipped == 0


def test_a_run_of_nothing_but_bad_batches_ends() -> None:
    optimizer, rate = start()
    run(optimizer, rate, [float("nan")] * (MOST_SKIPPED - 1))
    with pytest.raises(FloatingPointError, match=f"{MOST_SKIPPED} updates in a row"):
        run(optimizer, rate, [float("nan")])


def test_the_running_average_is_the_weighted_sum_of_what_was_seen() -> None:
    network = BatchNorm1d(1)
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


def test_the_average_of_the_weights_stays(shared_corpus: Path, tmp_path: Path) -> None:
    prepared = prepare(ZIPFORMER, shared_corpus, tmp_path)
    task = SpeechTask(SpeechTaskConfig(data=str(shared_corpus)), prepared, tmp_path)
    calls: list[int] = []
    task._network = None
    task.average = SimpleNamespace(update=lambda _, updates: calls.append(updates))
    for skipped in (False, True):
        optimizer = SimpleNamespace(step=lambda: None, last_was_skipped=skipped)
        task.optimizer_step(optimizer, None, 3)
    assert calls == [4]
