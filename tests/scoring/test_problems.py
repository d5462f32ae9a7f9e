"""Each kind of problem is found where it is; the test of degenerate policies."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from echostream.scoring.folder import score_folder
from echostream.scoring.instance import Instance
from echostream.scoring.problems import SHOWN_INDICES, Problem, check_instances
from echostream.scoring.units import Fault

from .logs import corpora, record, utterance, write_log

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
    corpus = [replace(GOOD, index=index) for index in (0, 10**30, 10**30 + 2)]
    (problem,) = check_instances(corpus)
    assert problem.count == 10**30
    assert problem.indices == tuple(range(1, SHOWN_INDICES + 1))
    assert str(problem).endswith("10, ...)")


WORDS = " ".join("abcdefghij")


def flagged(folder: Path, delays: list[float]) -> list[Problem]:
    """What is said of three recordings of ten seconds with ten words at these times."""
    line = record(
        prediction=WORDS,
        reference=WORDS,
        delays=delays,
        elapsed=delays,
        source_length=10_000.0,
        prediction_length=10,
    )
    write_log(folder / "instances.log", [{**line, "index": number} for number in range(3)])
    scores = score_folder(folder)
    assert not scores.has_errors
    return [p for p in scores.problems if p.kind == "likely-degenerate-policy"]


@pytest.mark.fault("F57")
@pytest.mark.parametrize("late", [3, 8])
def test_words_at_the_end_of_the_source_are_flagged(tmp_path: Path, late: int) -> None:
    """An even pace; then all but a few at the end."""
    even = [1000.0 * word for word in range(10)]
    (found,) = flagged(tmp_path, even[: 10 - late] + [10_000.0] * late)
    # The words before the end do not lag at all, so YAAL is 0 and all of the source is left.
    assert f"{100 - 10 * late:.1f} %" in found.meaning and "100.0 %" in found.meaning


@pytest.mark.fault("F57")
@pytest.mark.parametrize("shift", [0.0, 3000.0, 9900.0])
def test_an_even_pace_is_not_flagged(tmp_path: Path, shift: float) -> None:
    assert flagged(tmp_path, [min(1000.0 * word + shift, 10_000.0) for word in range(10)]) == []
