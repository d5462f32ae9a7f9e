"""The fault suite as a table: what can go wrong, what must happen, whether it does.

    python -m eval.faults                 run the tests, print the table and keep it
    python -m eval.faults --print-only    leave docs/reliability.md alone

The faults are in ``tests/catalogue.py``; the tests that are marked with a fault's number decide its
result.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping

import pytest

from echostream.scoring.markdown import markdown_table
from eval.command import ROOT, parser_of
from tests.catalogue import FAULTS, Fault

SUITE = ROOT / "tests"
DOCUMENT = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- faults: made by `make faults` -->", "<!-- end of faults -->"


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


def result_of(fault: Fault, outcomes: Mapping[str, list[str]]) -> str:
    """One word, or two."""
    if fault.status != "tested":
        return fault.status
    found = outcomes.get(fault.number, [])
    if "failed" in found:
        return "FAILED"
    return "passed" if "passed" in found else "no test ran"


def table(faults: Iterable[Fault], outcomes: Mapping[str, list[str]]) -> str:
    """As Markdown."""
    rows = [
        (
            fault.number,
            fault.fault,
            fault.expectation,
            result_of(fault, outcomes) + (f" ({fault.note})" if fault.note else ""),
        )
        for fault in faults
    ]
    return markdown_table(("number", "fault", "what must happen", "result"), rows, text_columns=4)


def with_table(document: str, text: str) -> str:
    """The document with the table in the place of the old one."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document lacks the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def main(argv: list[str] | None = None) -> int:
    """Run the suite; 0 when every tested fault passed."""
    parser = parser_of("faults", __doc__)
    parser.add_argument("--print-only", action="store_true", help="leave the document alone")
    args = parser.parse_args(argv)
    results = Results()
    options = ("-q", "-p", "no:cacheprovider", "-m", "fault", "-n", "2", "--dist", "worksteal")
    status = int(pytest.main([str(SUITE), *options], plugins=[results]))
    text = table(FAULTS, results.outcomes)
    print(text)
    bad = [f.number for f in FAULTS if result_of(f, results.outcomes) in ("FAILED", "no test ran")]
    if not args.print_only:
        document = DOCUMENT.read_text(encoding="utf-8")
        DOCUMENT.write_text(with_table(document, text), encoding="utf-8")
    for name in results.others:
        print(f"failed: {name}", file=sys.stderr)
    if bad:
        print(f"not as it must be: {', '.join(sorted(bad))}", file=sys.stderr)
    return 1 if bad or results.others or status else 0


if __name__ == "__main__":
    sys.exit(main())
