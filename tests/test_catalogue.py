"""The catalogue, the tests and the document speak of the same faults."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from eval.faults import BEGIN, DOCUMENT, END, Results, result_of, table, with_table
from tests.catalogue import FAULTS, Fault


def rows(document: str) -> dict[str, str]:
    """Fault number to result, as the document has them."""
    inside = document.partition(BEGIN)[2].partition(END)[0]
    found = {}
    for line in inside.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)]
        if len(cells) == 6 and re.fullmatch(r"F\d\d", cells[1]):
            found[cells[1]] = cells[4].partition(" (")[0]
    return found


def numbers_in_tests() -> set[str]:
    """Numbers that tests are marked with."""
    marked = re.compile(r"pytest\.mark\.fault\(([^)]*)\)")
    texts = [path.read_text("utf-8") for path in Path(__file__).parent.rglob("test_*.py")]
    return {n for text in texts for m in marked.finditer(text) for n in re.findall(r"F\d\d", m[1])}


def test_every_number_from_1_to_57_is_there_once() -> None:
    assert [fault.number for fault in FAULTS] == [f"F{n:02}" for n in range(1, 58)]


def test_what_is_said_to_be_tested_is_and_nothing_else() -> None:
    assert numbers_in_tests() == {fault.number for fault in FAULTS if fault.status == "tested"}


def test_what_is_not_tested_says_why() -> None:
    assert all(fault.note for fault in FAULTS if fault.status != "tested")
    assert all(fault.expectation for fault in FAULTS if fault.status == "tested")


def test_the_document_lists_the_same_faults_and_no_failure() -> None:
    found = rows(DOCUMENT.read_text(encoding="utf-8"))
    expected = {f.number: "passed" if f.status == "tested" else f.status for f in FAULTS}
    assert found == expected, "run `make faults`"


@pytest.mark.parametrize(
    ("status", "outcomes", "result"),
    [
        ("tested", ["passed", "passed"], "passed"),
        ("tested", ["passed", "failed"], "FAILED"),
        ("tested", ["skipped", "passed"], "passed"),
        ("tested", ["skipped"], "no test ran"),
        ("tested", [], "no test ran"),
        ("not yet", [], "not yet"),
    ],
)
def test_results(status: str, outcomes: list[str], result: str) -> None:
    fault = Fault("F99", "a | b", "nothing", status, "why")  # type: ignore[arg-type]
    assert result_of(fault, {"F99": outcomes}) == result
    document = with_table(
        "before\n<!-- faults: made by `make faults` -->\nold\n<!-- end of faults -->\nafter\n",
        table([fault], {"F99": outcomes}),
    )
    assert rows(document) == {"F99": result}
    assert document.startswith("before\n") and document.endswith("\nafter\n")
    assert "old" not in document


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
