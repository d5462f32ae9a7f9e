"""What stood in ``scores.tsv`` before: kept, and compared with what the log says."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from echostream.errors import DataError

_ROUNDING = 0.0015
"""Two values with three decimals that differ by no more than this are the same figure."""


def earlier_scores(table: Path, details: Path) -> str | None:
    """Text of the ``scores.tsv`` that the tool which wrote the log left, or None if it left none.

    table, details: paths of ``scores.tsv`` and ``scores.json``, which need not be there. If an
    earlier scoring wrote the table, what it found before is taken from ``scores.json``, so that
    scoring twice loses nothing.

    Raises DataError if the table is there but cannot be read.
    """
    try:
        text = table.read_bytes().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(
            f"{table}: cannot be read: {error.strerror}; expected a file, or none"
        ) from error
    try:
        kept = json.loads(details.read_text(encoding="utf-8"))
        ours, earlier = kept["scores_tsv"], kept["earlier_scores_tsv"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return text
    if not isinstance(ours, str) or ours.splitlines() != text.splitlines():
        return text
    return earlier if isinstance(earlier, str) else None


def parse_table(text: str | None) -> dict[str, float] | None:
    """Columns of a ``scores.tsv``; None if it is no header line and a row of numbers."""
    try:
        names, cells = ((line.split("\t")) for line in (text or "").splitlines())
        # pandas leaves a cell without value empty.
        return {n: float(cell or "nan") for n, cell in zip(names, cells, strict=True)}
    except ValueError:
        return None


def same_figure(one: float | None, other: float | None) -> bool:
    """Whether two values are the same at three decimals; None and NaN are no value."""
    a, b = (math.nan if value is None else value for value in (one, other))
    return abs(a - b) <= _ROUNDING or (math.isnan(a) and math.isnan(b))


def notes_on_earlier(text: str, values: Mapping[str, float | None]) -> list[str]:
    """What a reader of the replaced table should know, at most one line for each finding.

    text: the earlier ``scores.tsv``. values: ours, unrounded, by column name.

    SimulEval 1.1.4 with --computation-aware computes its plain columns from the elapsed times, so
    that they are what the _CA columns are.
    """
    earlier = parse_table(text)
    if earlier is None:
        return ["scores.tsv was not a header line and a row of numbers; its text is in scores.json"]

    def changes(names: list[str]) -> str:
        return ", ".join(f"{n} {_show(earlier[n])} -> {_show(values[n])}" for n in names)

    differing = [n for n in earlier if n in values and not same_figure(earlier[n], values[n])]
    aware = [
        name
        for name in differing
        if f"{name}_CA" in earlier and same_figure(earlier[name], values.get(f"{name}_CA"))
    ]
    unexplained = [name for name in differing if name not in aware]
    foreign = ", ".join(name for name in earlier if name not in values)
    notes = []
    if aware:
        notes.append(
            "scores.tsv was of SimulEval 1.1.4, which computes all columns from the elapsed times "
            "if it is given --computation-aware: " + changes(aware)
        )
    if unexplained:
        notes.append(
            "scores.tsv held other values than the log says (other options, another log, or one of "
            "the defects of the tool in docs/metrics.md): " + changes(unexplained)
        )
    if foreign:
        notes.append(
            f"scores.tsv held figures that are not computed here ({foreign}); they are in "
            "scores.json"
        )
    return notes


def _show(value: float | None) -> str:
    return "nan" if value is None or math.isnan(value) else f"{value:.3f}"
