"""F33, F45, F47, F48, F51 in a pool of streams: what goes wrong in one stays in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from echostream.backend import installed_backends, onnxruntime_engine, openvino_engine
from echostream.encoder.stream_state import StreamState
from echostream.errors import AudioFormatError, StreamClosedError
from echostream.hosts.pool import OverloadError, StreamPool
from echostream.session import Translator
from tests.backend.compiled import export_once
from tests.hosts.pool.hosts import Host, Source, alone, source
from tests.small_system import audio

BATCH = 3
Make = Callable[..., Translator]


@pytest.fixture(scope="module", params=installed_backends())
def translator(request: pytest.FixtureRequest, translate: Make) -> Iterator[Translator]:
    with pytest.MonkeyPatch.context() as patch:
        for engine in (openvino_engine, onnxruntime_engine):
            patch.setattr(engine, "export_onnx", export_once)
        yield translate(backend=request.param, policy="stub")


@pytest.fixture(scope="module")
def torch_one(translate: Make) -> Translator:
    return translate(policy="stub")


def pool_of(translator: Translator, **limits: Any) -> StreamPool:
    return StreamPool(translator, BATCH, batch_sizes=(1, BATCH), **limits)


def test_F45_what_goes_wrong_in_one_stream_does_not_reach_the_others(
    translator: Translator,
) -> None:
    """Between any two batches: bad pushes, late pushes, pushes too far ahead, an early end."""
    samples = audio(1.5, seed=4)
    poisoned = samples[:3000].copy()
    poisoned[7] = np.nan
    pool = pool_of(translator, max_ahead_ms=1000)
    good = [source(1.2 + 0.1 * n, seed=n, segment=4000) for n in range(3)]
    host = Host(pool, good)
    sick, ended, greedy = (pool.open() for _ in range(3))
    pool.push(ended, samples[:6000], 16_000)
    pool.finish(ended)
    sick_turns: list[Any] = []
    start = 0
    refused = 0
    while len(host.finished) < len(good):
        for which in range(len(good)):
            host.push(which)
        for content, rate in ((poisoned, 16_000), (b"raw", 16_000), (samples[:99] * 9e3, 16_000)):
            with pytest.raises(AudioFormatError):
                pool.push(sick, content, rate)
        pool.push(sick, samples[start : start + 4000], 16_000)
        start += 4000
        with pytest.raises(AudioFormatError, match="8000"):
            pool.push(sick, samples[:4000], 8000)
        with pytest.raises(StreamClosedError):
            pool.push(ended, samples[:4000], 16_000)
        with pytest.raises(OverloadError):
            pool.push(greedy, audio(3.0), 16_000)
        refused += 1
        for number, served in pool.run_ready().items():
            assert served.error is None
            if number == sick:
                sick_turns += served.step.turns
            elif number in host.numbers:
                host.turns[host.numbers[number]].extend(served.step.turns)
                if served.finished:
                    host.finished.add(host.numbers[number])
    assert refused > 3
    assert host.turns == [alone(translator, one) for one in good]
    pool.push(sick, samples[start:], 16_000)
    pool.finish(sick)
    while sick in pool:
        batch = pool.run_ready()
        sick_turns += batch[sick].step.turns if sick in batch else ()
    assert sick_turns == alone(translator, Source(samples, 16_000, 0))


def test_F45_features_that_are_not_finite_stay_in_their_row(translator: Translator) -> None:
    """They cannot come through a front end; this is the rule one step further in."""
    encoder = translator.listener.encoder
    initial = translator.listener.init_state().encoder
    assert isinstance(initial, StreamState)
    state = StreamState.stack([initial] * BATCH)
    window = 2 * state.chunk_size
    features = torch.randn(BATCH, window, 80, generator=torch.Generator().manual_seed(1))
    bad = features.clone()
    bad[1] = float("nan")
    for active in ([True, True, True], [True, True, False], [False, True, True]):
        mask = torch.tensor(active)
        good_y, _, good = encoder.step(features, state, active=mask)
        y, _, after = encoder.step(bad, state, active=mask)
        assert not y[1].isfinite().all()
        then_good = encoder.step(features, good, active=mask)
        then = encoder.step(features, after, active=mask)
        for row in (0, 2):
            assert torch.equal(y[row], good_y[row])
            assert torch.equal(then[0][row], then_good[0][row])
            assert y[row].isfinite().all()


def test_F47_a_client_that_vanishes_in_mid_chunk_frees_its_place(
    torch_one: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = pool_of(torch_one, max_streams=3)
    good = [source(1.2, seed=n, segment=5000) for n in range(2)]
    host = Host(pool, good)
    leaving = pool.open()
    pool.push(leaving, audio(0.9), 16_000)
    encoder = type(torch_one.listener.encoder)
    step = encoder.step

    def leave(*args: Any, **more: Any) -> Any:
        if leaving in pool:
            pool.close(leaving)
        return step(*args, **more)

    host.push(0)
    host.push(1)
    monkeypatch.setattr(encoder, "step", leave)
    assert leaving not in pool.run_ready(), "nobody is there to get it"
    monkeypatch.undo()
    assert leaving not in pool and len(pool) == 2
    pool.open()  # the limit is three
    again = pool_of(torch_one)
    host = Host(again, good)
    host.run_to_the_end()
    assert host.turns == [alone(torch_one, one) for one in good]


def test_F48_who_is_not_served_waits_within_bounds(torch_one: Translator) -> None:
    """The rule: a push that would wait longer than max_ahead_ms is refused, as a whole."""
    pool = pool_of(torch_one, max_ahead_ms=640)
    samples = audio(4.0, seed=2)
    slow = pool.open()
    start, sizes = 0, []
    for _ in range(200):
        try:
            pool.push(slow, samples[start : start + 800], 16_000)
            start += 800
        except OverloadError:
            sizes.append(pool.nbytes)
    assert 0 < pool.waiting_ms(slow) <= 640
    assert len(set(sizes)) == 1 and len(sizes) > 150, "what is refused leaves nothing behind"
    turns: list[Any] = []
    while slow in pool:
        turns += [t for served in pool.run_ready().values() for t in served.step.turns]
        if start < len(samples):
            pool.push(slow, samples[start : start + 5120], 16_000)
            start += 5120
            if start >= len(samples):
                pool.finish(slow)
    assert turns == alone(torch_one, Source(samples, 16_000, 0))


def test_F51_more_streams_than_the_limit_are_told_at_once(torch_one: Translator) -> None:
    pool = pool_of(torch_one, max_streams=2)
    first, second = pool.open(), pool.open()
    for _ in range(3):
        with pytest.raises(OverloadError, match="2 streams are open.*max_streams"):
            pool.open()
    pool.push(first, audio(0.5), 16_000)
    pool.finish(first)
    while first in pool:
        pool.run_ready()
    third = pool.open()
    assert third not in (first, second) and len(pool) == 2


def test_F33_memory_that_runs_out_in_a_batch_loses_no_stream(
    torch_one: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = [source(1.0 + 0.1 * n, seed=n) for n in range(3)]
    host = Host(pool_of(torch_one), sources)
    for which in (0, 1, 2) * 2:
        host.push(which)  # More than a chunk of each.
    encoder = type(torch_one.listener.encoder)

    def fail(*_: Any, **__: Any) -> Any:
        raise MemoryError("planted")

    with monkeypatch.context() as patch:
        patch.setattr(encoder, "step", fail)
        for _ in range(2):
            with pytest.raises(MemoryError):
                host.run()
    host.run_to_the_end()
    assert host.turns == [alone(torch_one, one) for one in sources]
