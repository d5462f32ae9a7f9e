"""What stood in ``scores.tsv`` before: kept, and checked for SimulEval 1.1.4's wrong columns."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from echostream.errors import DataError

_ROUNDING = 0.0015
"""Two values with three decimals that differ by no more than this are the same figure."""


def earlier_scores(table: Path, details: Path, ours: str) -> str | None:
    """Text of the ``scores.tsv`` that another program left, or None if there was none.

    table, details: paths of ``scores.tsv`` and ``scores.json``, which need not be there.
    ours: what is about to be written. If just that is there already, the text that an earlier
        scoring kept in ``scores.json`` is returned, so that scoring twice loses nothing.

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
    if text.splitlines() != ours.splitlines():
        return text
    try:
        kept = json.loads(details.read_text(encoding="utf-8")).get("earlier_scores_tsv")
    except (OSError, ValueError, AttributeError):
        return None
    return kept if isinstance(kept, str) else None


def notes_on_earlier(text: str, values: Mapping[str, float | None]) -> list[str]:
    """What a reader of the replaced table should know, at most one line for each finding.

    text: the earlier ``scores.tsv``. values: ours, unrounded, by column name.
    """
    earlier = _parse(text)
    if earlier is None:
        return ["scores.tsv was not a header line and a row of numbers; its text is in scores.json"]
    differing = [
        name for name in earlier if name in values and not _same(earlier[name], values[name])
    ]
    notes = []
    wrong = [name for name in differing if f"{name}_CA" in earlier]
    if wrong and _plain_equals_aware(earlier):
        notes.append(
            "scores.tsv held computation-aware values in its plain columns, as SimulEval 1.1.4 "
            f"writes with --computation-aware; replaced: {_changes(wrong, earlier, values)}"
        )
        differing = [name for name in differing if name not in wrong]
    if differing:
        notes.append(
            "scores.tsv held other values (other options, or another log?); replaced: "
            + _changes(differing, earlier, values)
        )
    foreign = [name for name in earlier if name not in values]
    if foreign:
        notes.append(
            f"scores.tsv held figures that are not computed here ({', '.join(foreign)}); they are "
            "in scores.json"
        )
    return notes


def _plain_equals_aware(earlier: Mapping[str, float]) -> bool:
    """Whether each plain column repeats its computation-aware one."""
    pairs = [name for name in earlier if f"{name}_CA" in earlier]
    return all(_same(earlier[name], earlier[f"{name}_CA"]) for name in pairs)


def _parse(text: str) -> dict[str, float] | None:
    lines = text.splitlines()
    if len(lines) != 2:
        return None
    names, cells = lines[0].split("\t"), lines[1].split("\t")
    if len(names) != len(cells):
        return None
    try:
        # pandas leaves a cell without value empty.
        return {
            name: float(cell) if cell else math.nan for name, cell in zip(names, cells, strict=True)
        }
    except ValueError:
        return None


def _same(one: float, other: float | None) -> bool:
    if other is None or math.isnan(other):
        return math.isnan(one)
    return abs(one - other) <= _ROUNDING


def _changes(
    names: list[str], earlier: Mapping[str, float], values: Mapping[str, float | None]
) -> str:
    return ", ".join(f"{name} {_show(earlier[name])} -> {_show(values[name])}" for name in names)


def _show(value: float | None) -> str:
    return "nan" if value is None or math.isnan(value) else f"{value:.3f}"
