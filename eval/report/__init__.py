"""The report of a comparison: one page, Markdown tables, and figures for papers."""

from __future__ import annotations

from eval.report.write import write_report

__all__ = ["write_report"]
