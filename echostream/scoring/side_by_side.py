"""Several runs side by side: a Markdown table of the main figures, and files with all of them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from echostream.errors import DataError
from echostream.scoring.folder import show
from echostream.scoring.scores import Scores

MAIN_FIGURES = (
    "BLEU",
    "chrF",
    "WER",
    "CER",
    "ASR_BLEU",
    "LAAL",
    "LAAL_CA",
    "LAAL_RT",
    "AL",
    "YAAL",
    "StartOffset",
    "EndOffset",
    "ATD",
    "compute_RTF",
)

FORMATS = (".tsv", ".json", ".md")
"""What :func:`write_comparison` can write, by the ending of the file's name."""


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
    rows = [["run", "instances", *names], ["---", *["---:"] * (len(names) + 1)]]
    for title, scores in runs.items():
        mark = " *" if scores.has_errors else ""
        cells = [show(scores.values.get(name)) for name in names]
        rows.append([_escaped(title) + mark, str(scores.counts["instances"]), *cells])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
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


def write_comparison(path: str | os.PathLike[str], runs: Mapping[str, Scores]) -> None:
    """Write all figures of all runs as ``.tsv`` or ``.json``, or the table as ``.md``.

    The TSV has a row per run: folder, instances, problems (their kinds) and every figure,
    unrounded, empty where there is no value. The JSON is a list of what ``scores.json`` has, with
    ``folder``.

    Raises DataError for another ending and for a file that cannot be written.
    """
    target = Path(path)
    writers = {".tsv": _tsv, ".json": _json, ".md": lambda runs: format_comparison(runs) + "\n"}
    if target.suffix not in writers:
        raise DataError(
            f"{target}: ends in {target.suffix or 'nothing'!r}; expected {', '.join(writers)}"
        )
    try:
        target.write_text(writers[target.suffix](runs), encoding="utf-8", newline="\n")
    except OSError as error:
        raise DataError(
            f"{target}: cannot be written: {error.strerror}; expected a file in a folder that is "
            "there"
        ) from error


def _tsv(runs: Mapping[str, Scores]) -> str:
    names = list(dict.fromkeys(name for scores in runs.values() for name in scores.values))
    rows = [["folder", "instances", "problems", *names]]
    for title, scores in runs.items():
        kinds = ",".join(problem.kind for problem in scores.problems)
        head = [title, str(scores.counts["instances"]), kinds]
        cells = [scores.values.get(name) for name in names]
        rows.append([*head, *("" if cell is None else repr(cell) for cell in cells)])
    return "".join("\t".join(" ".join(cell.split()) for cell in row) + "\n" for row in rows)


def _json(runs: Mapping[str, Scores]) -> str:
    found = [{"folder": title, **scores.details()} for title, scores in runs.items()]
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
