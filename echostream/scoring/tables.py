"""Tables in Markdown, and of several runs side by side: the main figures and tests between runs."""

import html
import re
from collections.abc import Iterable, Mapping, Sequence

from echostream.scoring.folder import show
from echostream.scoring.scores import Scores
from echostream.scoring.significance import PairedComparison


def markdown_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, text_columns: int = 1
) -> str:
    """Lines of a table; nothing in a cell can end the cell or make markup.

    The first ``text_columns`` are words, the others numbers, which go to the right.
    """
    rule = ["---" if place < text_columns else "---:" for place in range(len(header))]
    lines = [rule, *([_escaped(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in ([*map(_escaped, header)], *lines))


def _escaped(text: str) -> str:
    flat = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"[\\|`*]|(?<=\])\(", r"\\\g<0>", flat)


MAIN_FIGURES = (
    *("BLEU", "chrF", "WER", "CER", "ASR_BLEU", "LAAL", "LAAL_CA", "LAAL_RT", "AL", "YAAL"),
    *("StartOffset", "EndOffset", "ATD", "compute_RTF"),
)


def format_comparison(runs: Mapping[str, Scores]) -> str:
    """A Markdown table, one row per run, of those main figures that any run has.

    A run whose log has errors is marked with ``*``. Below the table, one line for each figure whose
    signatures differ between runs, for those numbers may not be comparable.
    """
    names = [
        name
        for name in MAIN_FIGURES
        if any(scores.values.get(name) is not None for scores in runs.values())
    ]
    rows = []
    for title, scores in runs.items():
        mark = " *" if scores.has_errors else ""
        cells = [show(scores.values.get(name)) for name in names]
        rows.append([title + mark, str(scores.counts["instances"]), *cells])
    lines = [markdown_table(["run", "instances", *names], rows)]
    if any(scores.has_errors for scores in runs.values()):
        lines.append("\n\\* the log is damaged or contradicts itself; see its problems")
    lines += [f"\n{line}" for line in differing_signatures(runs, names)]
    return "\n".join(lines)


def differing_signatures(runs: Mapping[str, Scores], names: Sequence[str]) -> list[str]:
    """One line per figure of which the runs have more than one signature."""
    lines = []
    for name in names:
        found = {
            figure.signature
            for scores in runs.values()
            for figure in scores.figures
            if figure.name == name and figure.value is not None
        }
        if len(found) > 1:
            fields = [signature.split("|") for signature in sorted(found)]
            same = set(fields[0]).intersection(*fields[1:])
            parts = ["|".join(part for part in parts if part not in same) for parts in fields]
            lines.append(f"{name} differs in {' and '.join(part or '(none)' for part in parts)}")
    return lines


def format_paired_tests(tests: Mapping[str, Mapping[str, PairedComparison]], first: str) -> str:
    """A Markdown table: difference to the first run, its interval, p."""
    rows = [
        [
            *(title, name, f"{test.baseline:.3f}", f"{test.system:.3f}"),
            f"{test.difference.value:+.3f}",
            f"[{test.difference.low:+.3f}, {test.difference.high:+.3f}]",
            f"{test.p_value:.4f}",
        ]
        for title, found in tests.items()
        for name, test in found.items()
    ]
    header = ["run", "figure", "first", "this", "difference", "95 % interval", "p"]
    signatures = {test.signature for found in tests.values() for test in found.values()}
    title = f"Difference to {first}, with 95 % interval and p by approximate randomisation:"
    return "\n".join([title, "", markdown_table(header, rows, text_columns=2), "", *signatures])
