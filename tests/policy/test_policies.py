"""Each policy by hand, and against its schedule told as a story."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.decoder import Candidates, Word
from echostream.policy import (
    AlignAtt,
    CtcGuided,
    LocalAgreement,
    Offline,
    Policy,
    PolicyContext,
    WaitK,
)

from .policy_contexts import context, decide

MANY = tuple(f"w{i}" for i in range(100))


@pytest.mark.parametrize("policy", [WaitK(k=1), CtcGuided()])
def test_tentative_words_are_not_written(policy: Policy) -> None:
    ctx = context(chunks=5, words=("a",), tentative=("b", "c"), source=5, target=5)
    assert decide(policy, ctx).write == 1


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


Step = tuple[int, int]
"""ASR units heard, ST units heard."""


def complete_words(starts: list[bool], units: int) -> list[int]:
    """For each word complete after ``units`` target units the number of units up to its end.

    ``starts[i]`` says whether unit i begins a word; a word is complete when the next has begun.
    """
    firsts = [i for i in range(units) if starts[i]]
    return firsts[1:]


def policy_writes(policy: CtcGuided, steps: list[Step], starts: list[bool]) -> list[int]:
    written = 0
    state: Any = None
    out = []
    for chunk, (source, target) in enumerate(steps, start=1):
        ends = complete_words(starts, target)[written:]
        ctx = context(
            chunks=chunk,
            words=[f"w{e}" for e in ends],
            ends=ends,
            written=written,
            source=source,
            target=target,
            state=state,
        )
        decision = decide(policy, ctx)
        state = json.loads(json.dumps(decision.state))  # as a saved and restored stream has it
        out.append(decision.write)
        written += decision.write
    return out


def expected_writes(stride: int, lagging: int, steps: list[Step], starts: list[bool]) -> list[int]:
    """g(i) told in units: which ST units may be said, and which whole words they make."""
    heard_source = heard_target = said_units = said_words = 0
    out = []
    for source, target in steps:
        new_words = 0
        both_grew = source - heard_source >= stride and target - heard_target >= stride
        if both_grew:
            heard_source, heard_target = source, target
            may_say = 0
            while may_say + stride <= target - lagging:
                may_say += stride
            # Say units one after another; a word counts when the unit after it begins a word.
            for unit in range(said_units, may_say):
                if unit + 1 < target and starts[unit + 1]:
                    new_words += 1
                    said_units = unit + 1
        said_words += new_words
        out.append(new_words)
    return out


def test_schedule_by_hand() -> None:
    # units:      0     1      2     3     4      5
    starts = [True, False, True, True, False, True]
    # words: units 0-1, 2, 3-4, 5-
    steps = [(0, 0), (1, 0), (1, 1), (2, 1), (2, 3), (3, 3), (4, 4), (9, 6)]
    # Third step: both have grown to (1, 1), but no word is complete. Fourth: ST has not grown.
    # Fifth: both grew since (1, 1); unit 2 begins a word, so units 0 and 1 are one. Sixth: ST has
    # not grown. Seventh: unit 3 begins a word, so unit 2 is one. Last: so are units 3 and 4.
    assert policy_writes(CtcGuided(), steps, starts) == [0, 0, 0, 0, 1, 0, 1, 1]


@settings(deadline=None, max_examples=120)
@given(
    stride=st.integers(1, 3),
    lagging=st.integers(0, 3),
    growth=st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 4)), max_size=25),
    starts=st.lists(st.booleans(), min_size=101, max_size=101),
)
def test_schedule_against_g_told_in_units(
    stride: int, lagging: int, growth: list[Step], starts: list[bool]
) -> None:
    starts = [True, *starts[1:]]
    steps: list[Step] = []
    source = target = 0
    for more_source, more_target in growth:
        source, target = max(0, source + more_source), target + more_target
        steps.append((source, target))
    policy = CtcGuided(stride=stride, lagging=lagging)
    assert policy_writes(policy, steps, starts) == expected_writes(stride, lagging, steps, starts)


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


class OnDemand(Sequence[Word]):
    """Words of two tokens that look at ``frames``, and how many of them were made."""

    def __init__(self, frames: Sequence[int]) -> None:
        self.words = [Word(f"w{i}", 2 * i + 2, frame) for i, frame in enumerate(frames)]
        self.made = 0

    def __len__(self) -> int:
        self.made = len(self.words)
        return self.made

    def __getitem__(self, index: Any) -> Any:
        self.made = max(self.made, min(index + 1, len(self.words)))
        return self.words[index]


def looking(frames: Sequence[int], **settings: Any) -> tuple[PolicyContext, OnDemand]:
    """A context after 10 chunks, 160 frames."""
    words = OnDemand(frames)
    made = context(chunks=10, **settings)
    return dataclasses.replace(made, candidates=Candidates(tentative=words, on_demand=True)), words


@pytest.mark.parametrize(
    ("f", "frames", "written", "made"),
    [
        (8, [10, 40, 90, 151, 152, 20], 4, 5),
        (0, [10, 159, 160], 2, 3),
        (8, [160, 10], 0, 1),
        (8, [10, 20, 30], 3, 3),
        (160, [0, 1], 0, 1),
        (8, [], 0, 0),
    ],
)
def test_words_up_to_the_first_near_the_end_and_no_word_further(
    f: int, frames: list[int], written: int, made: int
) -> None:
    asked, words = looking(frames)
    assert AlignAtt(frames=f).decide(asked).write == written
    assert words.made == made


@pytest.mark.parametrize(("paused", "written"), [(True, 4), (False, 1)])
def test_what_was_said_before_a_pause_waits_for_nothing(paused: bool, written: int) -> None:
    asked, words = looking([100, 155])
    candidates = Candidates(OnDemand([20, 158, 159]), words, paused=paused, on_demand=True)
    asked = dataclasses.replace(asked, candidates=candidates)
    assert AlignAtt(frames=8).decide(asked).write == written


def test_schedules_make_no_more_words_than_they_allow() -> None:
    asked, words = looking([0] * 20, written=3)
    # 10 chunks, k=3: 8 words in all.
    assert WaitK(k=3).decide(asked).write == 5
    assert words.made == 5
    asked, words = looking([0] * 20, source=9, target=7)
    # 7 units of 2 a word; it takes one more word to see that no other fits.
    assert CtcGuided().decide(asked).write == 3
    assert words.made == 4
    asked, words = looking([0] * 20)
    assert Offline().decide(asked).write == 0
    assert words.made == 0


def test_local_agreement_compares_drafts() -> None:
    asked, _ = looking([0] * 5)
    first = decide(LocalAgreement(n=2), asked)
    assert first.write == 0
    shorter, _ = looking([0] * 3, state=first.state)
    assert decide(LocalAgreement(n=2), shorter).write == 3
