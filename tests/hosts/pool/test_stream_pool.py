"""Each stream of a pool gets what it would get alone, and in its turn."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.backend import installed_backends
from echostream.hosts.pool import StreamPool
from echostream.session import SystemOptions, Translator, build_translator
from tests.small_system import audio, make_whisper

from .hosts import Host, alone, source

RATES = (8_000, 16_000, 44_100)
Make = Callable[..., Translator]


streams = st.lists(
    st.tuples(
        st.sampled_from((0.0, 0.01, 0.32, 0.5, 0.64, 1.1)),  # seconds, at 16 kHz
        st.integers(0, 2),  # seed
        st.sampled_from(RATES),
        st.sampled_from((160, 1_600, 5_120, 7_777, 40_000)),  # samples of a segment
    ),
    min_size=1,
    max_size=20,
)


@pytest.mark.fault("F45")
@settings(deadline=None, max_examples=15)
@given(what=streams, max_batch=st.integers(1, 8), seed=st.integers(0, 1000))
def test_any_interleaving(translator, expected, what, max_batch: int, seed: int) -> None:  # type: ignore[no-untyped-def]
    """Some streams begin late, some are pushed far ahead or moved, between any two batches."""
    chance = random.Random(seed)
    pool = StreamPool(translator, max_batch, max_ahead_ms=4_000)
    sources = [source(seconds, number, rate, cut) for seconds, number, rate, cut in what]
    host = Host(pool, sources)

    def choose(left: list[int]) -> list[int]:
        for which in left:
            if chance.random() < 0.1:
                host.move(which)
        return chance.choices(left, k=chance.randint(0, 3 * len(left)))

    host.run_to_the_end(choose)
    for (seconds, number, rate, _), turns in zip(what, host.turns, strict=True):
        assert turns == expected(seconds, number, rate)
    assert len(pool) == 0 and pool.num_ready == 0


@pytest.mark.parametrize("right_context_ms", [0, 100, 320])
def test_right_context_is_waited_for_and_lost_by_no_stream(
    tmp_path: Path, right_context_ms: int
) -> None:
    make_whisper(tmp_path)
    translator = build_translator(
        SystemOptions(
            checkpoint=str(tmp_path),
            source_language="es",
            policy="alignatt",
            policy_options="frames=0",
            right_context_ms=right_context_ms,
        )
    )
    # As long as a chunk, or several, and shorter than one; some end in the middle of a batch.
    seconds = (0.64, 1.28, 2.56, 0.3, 0.96, 1.7, 0.0)
    sources = [source(each, number, segment=3_200) for number, each in enumerate(seconds)]
    pool = StreamPool(translator, 3)
    host = Host(pool, sources)
    first = pool.open()
    pool.push(first, audio(0.64 + right_context_ms / 1000, 0)[:-200], 16_000)
    assert not pool.num_ready and pool.waiting_ms(first) < 640
    pool.push(first, audio(0.1, 0), 16_000)
    assert pool.num_ready and pool.waiting_ms(first) >= 640
    pool.close(first)
    host.run_to_the_end(lambda left: [left[0], *left])
    assert any(turn.words for turns in host.turns for turn in turns)
    for one, turns in zip(sources, host.turns, strict=True):
        assert turns == alone(translator, one)


@pytest.mark.parametrize("policy", ["ctc", "local-agreement", "offline"])
@pytest.mark.parametrize("task", ["s2tt", "asr"])
def test_policies_and_tasks(translate: Make, policy: str, task: str) -> None:
    translator = translate(policy=policy, task=task, decoder="prefix-beam")
    sources = [source(1.0 + 0.3 * n, n, RATES[n % 3]) for n in range(4)]
    host = Host(StreamPool(translator, 4), sources)
    host.run_to_the_end()
    assert host.turns == [alone(translator, one) for one in sources]
    assert any(turn.words for turn in host.turns[3])


@pytest.mark.parametrize("backend", [name for name in installed_backends() if name != "torch"])
def test_compiled_backends(translate: Make, backend: str) -> None:
    """Graphs for one stream and three, so two are computed with an empty place."""
    translator = translate(backend=backend)
    sources = [source(0.8 + 0.1 * n, n, RATES[n % 3], 4_000 + 500 * n) for n in range(5)]
    host = Host(StreamPool(translator, 3), sources)
    sizes = set()
    while len(host.finished) < len(sources):
        for which in range(len(sources)):
            host.push(which)
        while served := host.run():
            sizes.add(len(served))
    assert host.turns == [alone(translator, one) for one in sources]
    assert sizes >= {1, 2, 3}


def test_forced_streams_keep_their_schedules(translate: Make) -> None:
    translator = translate(policy="wait-k", policy_options="k=1,stride=1")
    pool = StreamPool(translator)
    first, second = pool.open("a b c"), pool.open("x y")
    for stream in (first, second):
        pool.push(stream, audio(0.64), 16_000)
        pool.finish(stream)
    words = []
    while pool.num_ready:
        words.append({number: served.words for number, served in pool.run_ready().items()})
    assert words == [{first: ("a",), second: ("x",)}, {first: ("b", "c"), second: ("y",)}]


@settings(deadline=None, max_examples=20)
@given(
    pushes=st.lists(st.lists(st.integers(0, 8), max_size=8), min_size=1, max_size=10),
    max_batch=st.integers(1, 4),
)
def test_no_stream_starves(idle_translator, pushes, max_batch: int) -> None:  # type: ignore[no-untyped-def]
    """A stream that became ready is served before any other is served twice from then on."""
    pool = StreamPool(idle_translator, max_batch, max_ahead_ms=100_000)
    chunk = audio(0.32)
    numbers = [pool.open() for _ in range(9)]
    others: dict[int, dict[int, int]] = {}
    """For each ready stream, how often each other one was served since it became ready."""
    for turn in pushes:
        for which in turn:
            pool.push(numbers[which], chunk, 16_000)
            others.setdefault(numbers[which], {})
        waiting = sum(pool.waiting_ms(number) >= 320 for number in numbers)
        assert pool.num_ready == waiting
        served = pool.run_ready()
        assert len(served) == min(max_batch, waiting)
        for number in list(others):
            if number in served:
                del others[number]
                if pool.waiting_ms(number) >= 320:
                    others[number] = {}
                continue
            for other in served:
                others[number][other] = others[number].get(other, 0) + 1
                assert others[number][other] == 1
    assert len(pool) == 9


def test_an_end_does_not_wait_for_a_place(idle_translator: Translator) -> None:
    """Streams without audio left need no encoder, and take no place in its batch."""
    pool = StreamPool(idle_translator, 2)
    busy = [pool.open() for _ in range(3)]
    ending = [pool.open() for _ in range(3)]
    for stream in busy:
        pool.push(stream, audio(0.32), 16_000)
    for stream in ending:
        pool.finish(stream)
        pool.finish(stream)
    served = pool.run_ready()
    assert set(served) == {*busy[:2], *ending}
    assert [number for number, one in served.items() if one.finished] == ending
    assert all(number not in pool for number in ending)
