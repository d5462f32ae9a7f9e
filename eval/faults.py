"""The fault suite: what can go wrong, what must happen, whether it does.

    python -m eval.faults                 run the tests, print the table and keep it
    python -m eval.faults --print-only    leave docs/reliability.md alone

The faults are the rows of the table in ``docs/reliability.md``. The tests that are marked with a
fault's number decide its result; what is "not yet" there has no tests.
"""

import re
import sys
from collections import defaultdict
from collections.abc import Mapping

import pytest

from eval.command import ROOT, parser_of

SUITE = ROOT / "tests"
DOCUMENT = ROOT / "docs" / "reliability.md"
NOT_YET, GOOD = "not yet", "passed"
ROW = re.compile(r"^(\| (F\d\d) \|.*\| )([^|(]+?)((?: \([^|]*\))? \|)$", re.MULTILINE)
"""Of the table: up to the result, the number, the result, a note on it."""


class Results:
    """A pytest plugin that notes the outcomes of the tests of each fault."""

    def __init__(self) -> None:
        self.outcomes: dict[str, list[str]] = defaultdict(list)
        self.others: list[str] = []
        """What failed without a number, such as a file that cannot be imported."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called by pytest for set-up, call and tear-down of each test."""
        if report.when != "call" and not report.failed and not report.skipped:
            return
        numbers = [str(value) for name, value in report.user_properties if name == "fault"]
        for number in numbers:
            self.outcomes[number].append(report.outcome)
        if report.failed and not numbers:
            self.others.append(report.nodeid)


def result_of(outcomes: list[str]) -> str:
    """One word, or two, of the outcomes of a fault's tests."""
    if "failed" in outcomes:
        return "FAILED"
    return GOOD if GOOD in outcomes else "no test ran"


def with_results(document: str, outcomes: Mapping[str, list[str]]) -> str:
    """The document with a new result in each row of a fault that is tested."""

    def row(found: re.Match[str]) -> str:
        head, number, result, note = found.groups()
        new = result if result == NOT_YET else result_of(outcomes.get(number, []))
        return f"{head}{new}{note}"

    return ROW.sub(row, document)


def main(argv: list[str] | None = None) -> int:
    """Run the suite; 0 when every tested fault passed."""
    parser = parser_of("faults", __doc__)
    parser.add_argument("--print-only", action="store_true", help="leave the document alone")
    args = parser.parse_args(argv)
    results = Results()
    options = ("-q", "-p", "no:cacheprovider", "-m", "fault", "-n", "2", "--dist", "worksteal")
    status = int(pytest.main([str(SUITE), *options], plugins=[results]))
    document = with_results(DOCUMENT.read_text(encoding="utf-8"), results.outcomes)
    rows = list(ROW.finditer(document))
    print(*(row[0] for row in rows), sep="\n")
    if not args.print_only:
        DOCUMENT.write_text(document, encoding="utf-8")
    bad = [row[2] for row in rows if row[3] not in (GOOD, NOT_YET)]
    for name in results.others:
        print(f"failed: {name}", file=sys.stderr)
    if bad:
        print(f"not as it must be: {', '.join(bad)}", file=sys.stderr)
    return 1 if bad or results.others or status else 0


if __name__ == "__main__":
    sys.exit(main())
