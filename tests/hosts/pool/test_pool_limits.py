"""What a pool refuses, what fails in it, and that neither touches the other streams."""

import gc
import itertools
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from echostream.errors import AudioFormatError, ConfigError, StreamClosedError
from echostream.hosts.pool import OverloadError, StreamPool
from echostream.policy import Decision, PolicyContext
from echostream.session import SystemOptions, Translator, build_translator
from tests.small_system import audio, make_baseline

from .hosts import Host, Source, alone, source

RATES = (8_000, 16_000, 44_100)
Make = Callable[..., Translator]


@pytest.mark.fault("F48")
def test_pushing_too_far_ahead(translator: Translator) -> None:
    """The push that is refused leaves no trace, and succeeds when there is room again."""
    pool = StreamPool(translator, max_ahead_ms=1_000)
    samples = audio(2.0, seed=3)
    stream = pool.open()
    pool.push(stream, samples[:12_000], 16_000)
    for _ in range(3):
        with pytest.raises(OverloadError, match=rf"1250 ms .* stream {stream} .* 1000"):
            pool.push(stream, samples[12_000:20_000], 16_000)
        assert pool.waiting_ms(stream) == 750
    turns = [*pool.run_ready()[stream].step.turns]
    for start, end in ((12_000, 20_000), (20_000, 30_000), (30_000, 32_000)):
        pool.push(stream, samples[start:end], 16_000)
        if end == len(samples):
            pool.finish(stream)
        while pool.num_ready:
            turns += pool.run_ready()[stream].step.turns
    assert turns == alone(translator, Source(samples, 16_000, 0))


@pytest.mark.fault("F51")
def test_too_many_streams(idle_translator: Translator) -> None:
    pool = StreamPool(idle_translator, max_streams=2)
    first, _ = pool.open(), pool.open()
    with pytest.raises(OverloadError, match="2 streams are open"):
        pool.open()
    pool.close(first)
    third = pool.open()
    assert third not in (first, _), "numbers are not used again"


@pytest.mark.fault("F45")
def test_bad_audio_leaves_the_stream_good(translator: Translator) -> None:
    pool = StreamPool(translator)
    samples = audio(1.5, seed=4)
    stream, other = pool.open(), pool.open()
    bad = samples[:1000].copy()
    bad[7] = np.nan
    turns = []
    for start in range(0, len(samples), 4_000):
        with pytest.raises(AudioFormatError):
            pool.push(stream, bad, 16_000)
        pool.push(stream, samples[start : start + 4_000], 16_000)
        with pytest.raises(AudioFormatError, match="8000"):
            pool.push(stream, samples[:10], 8_000)
        pool.push(other, samples[start : start + 4_000], 16_000)
    pool.finish(stream)
    while pool.num_ready:
        served = pool.run_ready()
        turns += served[stream].step.turns if stream in served else ()
    assert turns == alone(translator, Source(samples, 16_000, 0))


@pytest.mark.fault("F47")
def test_closed_streams_are_gone(idle_translator: Translator) -> None:
    pool = StreamPool(idle_translator)
    empty = pool.open()
    stream = pool.open()
    pool.push(stream, audio(3.0), 16_000)
    pool.run_ready()
    gone = weakref.ref(pool._streams[stream])
    tensor = weakref.ref(pool._streams[stream].encoder.stem.features)
    pool.close(stream)
    gc.collect()
    assert gone() is None and tensor() is None
    assert pool.num_ready == 0 and len(pool) == 1
    pool.finish(empty)
    pool.run_ready()
    for number in (stream, empty, 99):
        for call in (
            lambda n=number: pool.push(n, audio(0.1), 16_000),
            lambda n=number: pool.finish(n),
            lambda n=number: pool.close(n),
        ):
            with pytest.raises(StreamClosedError, match=f"stream {number} is not in the pool"):
                call()


def test_after_finish_no_audio(idle_translator: Translator) -> None:
    pool = StreamPool(idle_translator)
    stream = pool.open()
    pool.push(stream, audio(1.0), 16_000)
    pool.finish(stream)
    with pytest.raises(StreamClosedError, match="was finished"):
        pool.push(stream, audio(0.1), 16_000)


def test_memory_of_a_batch_is_not_kept_by_one_stream(idle_translator: Translator) -> None:
    pool = StreamPool(idle_translator)
    numbers = [pool.open() for _ in range(8)]
    for number in numbers:
        pool.push(number, audio(0.32), 16_000)
    pool.run_ready()
    for number in numbers:
        for name, tensor in pool._streams[number].encoder.named_tensors():
            assert tensor.untyped_storage().nbytes() == tensor.nbytes, name


class FailsAt:
    """Raises in the second question of the stream that reads a certain first word."""

    def decide(self, context: PolicyContext) -> Decision:
        if context.num_chunks == 2 and context.words[:1] == ("bad",):
            raise ZeroDivisionError("planted")
        return Decision.read()


@pytest.mark.fault("F45")
def test_a_failing_policy_takes_only_its_own_stream(translate: Make) -> None:
    translator = translate(policy=f"{__name__}:FailsAt")
    pool = StreamPool(translator)
    good, bad, other = pool.open("good one"), pool.open("bad one"), pool.open("other one")
    for stream in (good, bad, other):
        pool.push(stream, audio(0.96), 16_000)
        pool.finish(stream)
    assert all(served.error is None for served in pool.run_ready().values())
    second = pool.run_ready()
    assert isinstance(second[bad].error, ZeroDivisionError) and second[bad].finished
    assert second[bad].words == () and bad not in pool
    third = pool.run_ready()
    assert {number: served.words for number, served in third.items()} == {
        good: ("good", "one"),
        other: ("other", "one"),
    }


@pytest.mark.fault("F33")
def test_a_failing_encoder_loses_nothing(
    translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = [source(1.0 + 0.2 * n, n) for n in range(3)]
    pool = StreamPool(translator, 2)
    host = Host(pool, sources)
    encoder = type(translator.listener.encoder)
    step, calls = encoder.step, itertools.count()

    def failing(self: Any, *args: Any, **more: Any) -> Any:
        if next(calls) % 2 == 0:
            raise MemoryError("planted")
        return step(self, *args, **more)

    def waiting() -> Any:
        return list(pool._line), {n: one.waiting_ms for n, one in pool._streams.items()}

    monkeypatch.setattr(encoder, "step", failing)
    failed = 0
    while len(host.finished) < len(sources):
        for which in range(len(sources)):
            host.push(which)
        before = waiting()
        try:
            host.run()
        except MemoryError:
            failed += 1
            assert waiting() == before
    monkeypatch.undo()
    assert failed > 3
    assert host.turns == [alone(translator, one) for one in sources]


def test_costs_are_shared(translate: Make, checkpoint: Any) -> None:
    """The clock moves only when the encoder runs, by 12 s a call, and in the front end by 1 s."""
    now = [0.0]
    options = SystemOptions(checkpoint=str(checkpoint), policy="offline")
    translator = build_translator(options, clock=lambda: now[0])
    listener = translator.listener

    def ticking(function: Callable[..., Any], seconds: float) -> Callable[..., Any]:
        def run(*args: Any, **more: Any) -> Any:
            now[0] += seconds
            return function(*args, **more)

        return run

    listener.encoder.step = ticking(listener.encoder.step, 12.0)
    listener.front_end.step = ticking(listener.front_end.step, 1.0)  # type: ignore[method-assign]
    listener.model.asr_head.forward = ticking(listener.model.asr_head.forward, 3.0)
    pool = StreamPool(translator)
    first, second, third, silent = (pool.open() for _ in range(4))
    pool.push(first, audio(0.16), 16_000)
    for stream in (first, second, third):
        pool.push(stream, audio(0.32), 16_000)
    pool.finish(silent)  # Which is a step of the front end too.
    served = pool.run_ready()
    costs = {number: one.step.costs for number, one in served.items()}
    shared = {"encoder": 4_000.0, "heads": 1_000.0, "decoder": 0.0, "policy": 0.0}
    assert costs == {
        first: {"front_end": 2_000.0, **shared},
        second: {"front_end": 1_000.0, **shared},
        third: {"front_end": 1_000.0, **shared},
        silent: {"front_end": 1_000.0, "decoder": 0.0, "policy": 0.0},
    }
    assert sum(sum(cost.values()) for cost in costs.values()) == 1000 * now[0]
    # What was paid is not paid again.
    pool.push(first, audio(0.32), 16_000)
    assert pool.run_ready()[first].step.costs["front_end"] == 1_000.0


@pytest.mark.fault("F46")
def test_several_threads(translator: Translator) -> None:
    """Two run batches while four push: no turn is lost, doubled or another stream's."""
    sources = [source(1.0 + 0.1 * n, n, RATES[n % 3], 3_000) for n in range(12)]
    pool = StreamPool(translator, 4)
    numbers = [pool.open() for _ in sources]
    turns: dict[int, list[Any]] = {number: [] for number in numbers}
    problems: list[BaseException] = []
    keep = threading.Lock()

    def push(mine: list[int]) -> None:
        try:
            for start in range(0, 60_000, 3_000):
                for which in mine:
                    one = sources[which]
                    if start < len(one.samples):
                        pool.push(numbers[which], one.samples[start : start + 3_000], one.rate)
            for which in mine:
                pool.finish(numbers[which])
        except BaseException as error:
            problems.append(error)

    def run() -> None:
        torch.set_num_threads(1)
        try:
            while len(pool) and not problems:
                for number, served in pool.run_ready().items():
                    with keep:
                        turns[number].extend(served.step.turns)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=push, args=(list(range(n, 12, 4)),)) for n in range(4)]
    threads += [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    for number, one in zip(numbers, sources, strict=True):
        found = sorted(turns[number], key=lambda turn: (turn.audio_ms, turn.reason))
        assert found == sorted(
            alone(translator, one), key=lambda turn: (turn.audio_ms, turn.reason)
        )


@pytest.mark.fault("F47")
def test_a_stream_closed_while_it_is_computed(translate: Make) -> None:
    """The host may close a stream from a policy's thread; nothing comes back of it."""
    translator = translate(policy="offline")
    pool = StreamPool(translator)
    first, second = pool.open(), pool.open()
    for stream in (first, second):
        pool.push(stream, audio(0.32), 16_000)
    listener = translator.listener
    heads = listener.chunks

    def closing(*args: Any) -> Any:
        pool.close(first)
        return heads(*args)

    listener.chunks = closing  # type: ignore[method-assign]
    assert list(pool.run_ready()) == [second]
    assert first not in pool and pool.num_ready == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_batch": 0}, "max_batch is 0"),
        ({"max_streams": 0}, "max_streams is 0"),
        ({"max_ahead_ms": 319}, "max_ahead_ms is 319; expected at least 320 ms, a chunk"),
    ],
)
def test_wrong_limits(translator: Translator, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        StreamPool(translator, **wrong)


def test_other_encoders_are_refused(tmp_path: Any) -> None:
    options = SystemOptions(random_weights=make_baseline(tmp_path))
    with pytest.raises(ConfigError, match="expected one that takes batches"):
        StreamPool(build_translator(options))
