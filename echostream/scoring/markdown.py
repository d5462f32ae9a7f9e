"""Tables in Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence


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
