from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings

from echostream.scoring.instance import Instance
from echostream.scoring.problems import SHOWN_INDICES, check_instances
from echostream.scoring.units import Fault

from .logs import corpora, utterance

GOOD = utterance([320, 640, 1000], 1000, 4, [330, 660, 1030])


@settings(deadline=None)
@given(corpora())
def test_an_ordinary_log_has_no_problem_but_empty_predictions(corpus: list[Instance]) -> None:
    found = {problem.kind: problem.count for problem in check_instances(corpus)}
    empty = sum(not ins.delays for ins in corpus)
    # Nothing is wrong with the log of such a policy.
    found.pop("likely-degenerate-policy", None)
    assert found == ({"empty-prediction": empty} if empty else {})


@pytest.mark.fault("F54", "F56")
@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        ("empty-prediction", replace(GOOD, prediction="", delays=(), elapsed=())),
        ("partly-missing-elapsed", replace(GOOD, elapsed=())),
        ("blank-reference", replace(GOOD, reference="  ")),
        ("reference-spacing", replace(GOOD, reference="one  two")),
        ("delay-after-end", replace(GOOD, source_length=999.0)),
        ("elapsed-below-delay", replace(GOOD, elapsed=(310, 640, 1030))),
        ("decreasing-compute", replace(GOOD, elapsed=(1200, 1100, 1500))),
        ("decreasing-compute", replace(GOOD, elapsed=(400, 650, 1040))),
        ("bad-times", replace(GOOD, delays=(), elapsed=(), faults=(Fault("bad-times", "nan"),))),
    ],
)
def test_each_kind_is_found_where_it_is(kind: str, bad: Instance) -> None:
    corpus = [replace(bad, index=2), replace(GOOD, index=1), replace(bad, index=0)]
    (problem,) = check_instances(corpus)
    assert (problem.kind, problem.count, problem.indices) == (kind, 2, (0, 2))
    assert str(problem).startswith(f"{kind} x 2: ")
    assert str(problem).endswith("(index 0, 2)")
    worth_knowing = ("empty-prediction", "blank-reference", "reference-spacing")
    assert problem.is_error is (kind not in worth_knowing)


def test_a_log_without_elapsed_times_is_no_error() -> None:
    (problem,) = check_instances([replace(GOOD, elapsed=(), index=index) for index in (0, 1)])
    assert (problem.kind, problem.count, problem.is_error) == ("missing-elapsed", 2, False)


@pytest.mark.fault("F09")
def test_empty_source() -> None:
    silent = replace(GOOD, prediction="", delays=(), elapsed=(), source_length=0.0)
    assert [p.kind for p in check_instances([silent])] == ["empty-prediction", "empty-source"]


def test_rounding_of_other_tools_is_no_problem() -> None:
    rounded = replace(GOOD, source_length=999.9995, elapsed=(319.9995, 660, 1019.9995))
    assert check_instances([rounded]) == []


@pytest.mark.fault("F54")
def test_index_gaps() -> None:
    corpus = [replace(GOOD, index=index) for index in (9, 3, 5)]
    (problem,) = check_instances(corpus)
    assert (problem.kind, problem.count, problem.indices) == ("index-gap", 4, (4, 6, 7, 8))
    # A run with --start-index begins later, which is no gap.
    assert check_instances(corpus[:1]) == []


def test_a_wide_gap_is_counted_and_not_listed() -> None:
    corpus = [replace(GOOD, index=index) for index in (0, 10**12, 10**12 + 2)]
    (problem,) = check_instances(corpus)
    assert problem.count == 10**12
    assert problem.indices == tuple(range(1, SHOWN_INDICES + 1))
    assert str(problem).endswith("10, ...)")
