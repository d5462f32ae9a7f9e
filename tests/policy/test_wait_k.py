from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.errors import ConfigError
from echostream.policy import WaitK

from .policy_contexts import context, decide

MANY = tuple(f"w{i}" for i in range(100))


def writes(policy: WaitK, ready: list[int]) -> list[int]:
    """Words written after each chunk when ``ready[t]`` words are complete after chunk t + 1."""
    written = 0
    out = []
    for chunks, total in enumerate(ready, start=1):
        words = MANY[written:total]
        decision = decide(policy, context(chunks=chunks, words=words, written=written))
        out.append(decision.write)
        written += decision.write
    return out


def test_tentative_words_are_not_written() -> None:
    ctx = context(chunks=5, words=("a",), tentative=("b", "c"))
    assert decide(WaitK(k=1), ctx).write == 1


@settings(deadline=None)
@given(
    k=st.integers(1, 6),
    stride=st.integers(1, 4),
    grown=st.lists(st.integers(0, 4), min_size=1, max_size=30),
)
def test_never_ahead_of_the_schedule_and_never_needlessly_behind(
    k: int, stride: int, grown: list[int]
) -> None:
    ready = [sum(grown[: i + 1]) for i in range(len(grown))]
    total = 0
    allowed = 0
    for chunks, (count, have) in enumerate(
        zip(writes(WaitK(k=k, stride=stride), ready), ready, strict=True), start=1
    ):
        # The schedule told as a story: at chunk k and every stride chunks later, stride words more.
        if chunks >= k and (chunks - k) % stride == 0:
            allowed += stride
        total += count
        assert total == min(allowed, have)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, r"option 'k' of policy 'wait-k' is 0 \(int\); expected .* at least 1"),
        ({"stride": -1}, "'stride'.* is -1"),
        ({"k": 2.0}, r"'k'.* is 2.0 \(float\); expected a whole number"),
        ({"k": "3"}, r"'k'.* is '3' \(str\)"),
        ({"k": True}, r"'k'.* is True \(bool\)"),
    ],
)
def test_bad_options(options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        WaitK(**options)
