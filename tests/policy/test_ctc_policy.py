from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.policy import CtcGuided

from .policy_contexts import context, decide

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


def test_lagging_and_stride_by_hand() -> None:
    starts = [True] * 10  # every unit is a word
    steps = [(1, 1), (2, 3), (3, 4), (5, 6), (6, 7), (9, 9)]
    # stride 2: (2, 3) passes: both grew by 2. (3, 4) and then (5, 6): 3 and 3. (9, 9): 4 and 3.
    # (y // 2) * 2: 2, 6, 8 units; of 9 units the last word is never complete.
    assert policy_writes(CtcGuided(stride=2), steps, starts) == [0, 2, 0, 3, 0, 3]
    # with k1 = 2: ((y - 2) // 2) * 2 = 0, 4, 6
    assert policy_writes(CtcGuided(stride=2, lagging=2), steps, starts) == [0, 0, 0, 4, 0, 2]


def test_only_stable_words_are_written() -> None:
    ctx = context(words=("a",), tentative=("b",), ends=(1, 2), source=5, target=5)
    assert decide(CtcGuided(), ctx).write == 1


def test_a_long_reference_as_forced_words() -> None:
    words = [f"w{i}" for i in range(1000)]
    ctx = context(words=words[7:], written=7, source=3, target=10)
    assert decide(CtcGuided(), ctx).write == 3  # one unit a word: words 8, 9 and 10


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


def test_reasons_are_for_people() -> None:
    read = CtcGuided().decide(context(source=4, target=2, state=(3, 2)))
    assert read.reason == "ASR 3 -> 4, ST 2 -> 2 units: not both by 1"
