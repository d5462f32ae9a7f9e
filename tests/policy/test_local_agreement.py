from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.policy import LocalAgreement

from .policy_contexts import context, decide

words_strategy = st.lists(st.sampled_from("abc"), max_size=6)


def run(n: int, hypotheses: list[list[str]], stable: int = 0) -> tuple[list[int], list[str]]:
    """Words written after each hypothesis, and the text; the first ``stable`` words are final."""
    policy = LocalAgreement(n=n)
    text: list[str] = []
    counts = []
    state: Any = None
    for chunk, hypothesis in enumerate(hypotheses, start=1):
        pending = hypothesis[len(text) :]
        final = max(0, min(stable - len(text), len(pending)))
        ctx = context(
            chunks=chunk,
            words=pending[:final],
            tentative=pending[final:],
            written=len(text),
            state=state,
        )
        decision = decide(policy, ctx)
        state = json.loads(json.dumps(decision.state))
        assert len(state) <= n - 1
        counts.append(decision.write)
        text += pending[: decision.write]
    return counts, text


def test_two_agree_by_hand() -> None:
    hypotheses = [
        ["a", "b"],
        ["a", "c"],  # agrees on a
        ["a", "c", "d"],  # agrees on c
        ["x", "c", "d", "e"],  # what was written stays; d agrees
        ["x", "c", "d"],
        ["x", "c", "d", "f", "g"],
    ]
    assert run(2, hypotheses) == ([0, 1, 1, 1, 0, 0], ["a", "c", "d"])


@settings(deadline=None, max_examples=150)
@given(
    n=st.integers(1, 4),
    hypotheses=st.lists(words_strategy, max_size=12),
    stable=st.integers(0, 3),
)
def test_writes_all_that_the_last_n_share_and_nothing_else(
    n: int, hypotheses: list[list[str]], stable: int
) -> None:
    counts, _ = run(n, hypotheses, stable)
    written = 0
    for chunk, count in enumerate(counts):
        last = hypotheses[max(0, chunk - n + 1) : chunk + 1]
        for position in range(written, written + count):
            assert len(last) == n
            assert all(len(h) > position for h in last)
            assert len({h[position] for h in last}) == 1
        written += count
        if len(last) == n and all(len(h) > written for h in last):
            assert len({h[written] for h in last}) > 1, "one more word was shared"


def test_the_state_keeps_pending_words_only() -> None:
    hypotheses = [[f"w{i}" for i in range(count)] for count in range(0, 400, 2)]
    policy = LocalAgreement(n=3)
    state: Any = None
    written = 0
    for hypothesis in hypotheses:
        ctx = context(words=hypothesis[written:], written=written, state=state)
        decision = decide(policy, ctx)
        state = decision.state
        written += decision.write
    assert written == len(hypotheses[-3])
    assert sum(len(words) for _, words in state) <= 12
