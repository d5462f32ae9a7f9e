"""The faults of docs/reliability.md and the tests that are marked with their numbers."""

import re

import pytest

from eval.faults import DOCUMENT, GOOD, NOT_YET, ROW, SUITE, Results, result_of, with_results

MARKS = re.compile(r"pytest\.mark\.fault\(([^)]*)\)")


def test_every_fault_of_the_table_has_a_test_and_none_has_failed() -> None:
    rows = list(ROW.finditer(DOCUMENT.read_text("utf-8")))
    assert [row[2] for row in rows] == [f"F{n:02}" for n in range(1, 58)]
    # What is not tested says why.
    assert all(row[3] == GOOD or (row[3] == NOT_YET and "(" in row[4]) for row in rows)
    texts = [path.read_text("utf-8") for path in SUITE.rglob("test_*.py")]
    marks = {n for text in texts for m in MARKS.finditer(text) for n in re.findall(r"F\d\d", m[1])}
    assert marks == {row[2] for row in rows if row[3] == GOOD}, "run `make faults`"


@pytest.mark.parametrize(
    ("outcomes", "result"),
    [
        (["passed", "passed"], "passed"),
        (["passed", "failed"], "FAILED"),
        (["skipped", "passed"], "passed"),
        (["skipped"], "no test ran"),
        ([], "no test ran"),
    ],
)
def test_results_stand_in_their_rows(outcomes: list[str], result: str) -> None:
    assert result_of(outcomes) == result
    table = "before\n| F98 | x | y | not yet (none) |\n| F99 | a \\| b (c) | d (e) | old{} |\n"
    found = with_results(table.format(" (why)"), {"F98": ["passed"], "F99": outcomes})
    assert found == table.replace("old", result).format(" (why)")


def report(name: str, when: str, outcome: str, *numbers: str) -> pytest.TestReport:
    shown = [("fault", number) for number in numbers]
    return pytest.TestReport(
        name,
        (name, 1, name),
        {},
        outcome,  # type: ignore[arg-type]
        None,
        when,  # type: ignore[arg-type]
        user_properties=shown,
    )


def test_outcomes_are_noted_once_and_errors_in_the_set_up_count() -> None:
    results = Results()
    name = "tests/audio/test_x.py::test_something[a-b]"
    for when in ("setup", "call", "teardown"):
        results.pytest_runtest_logreport(report(name, when, "passed", "F12", "F13"))
    results.pytest_runtest_logreport(report(name, "setup", "failed", "F12"))
    results.pytest_runtest_logreport(report("x::test_other", "call", "failed"))
    results.pytest_runtest_logreport(report("x::test_other", "call", "passed"))
    assert results.outcomes == {"F12": ["passed", "failed"], "F13": ["passed"]}
    assert results.others == ["x::test_other"]
