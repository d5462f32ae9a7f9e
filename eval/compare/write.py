"""Writes all parts of the report into a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eval.compare.checks import read_results
from eval.compare.figures import write_figures
from eval.compare.page import page
from eval.compare.tables import markdown

PAGE_NAME = "report.html"
TABLES_NAME = "tables.md"
FIGURES_NAME = "figures"


def write_report(results: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write the report of ``results``, the content of a ``results.json``.

    ``report.html`` needs no other file and no network; ``tables.md`` has the tables as Markdown,
    ``figures/*.svg`` the figures for papers. The folder is made if it is not there; files of the
    same names are replaced.

    Returns the paths written, the page first. Raises DataError for results that do not follow the
    format; nothing is written then.
    """
    checked = read_results(results)
    texts = {PAGE_NAME: page(checked), TABLES_NAME: markdown(checked)}
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [*(folder / name for name in texts), *write_figures(checked, folder / FIGURES_NAME)]
