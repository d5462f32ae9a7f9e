"""The course of a run: one JSON object a line, written as it happens.

A run that is stopped and goes on writes the updates since its last checkpoint again; a reader takes
the last line of each update.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

HISTORY = "history.jsonl"
Record = dict[str, Any]


def append(path: Path, record: Record) -> None:
    """Add one line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def read(path: Path, part: str) -> list[Record]:
    """The records of a part (``train`` or the name of a validation part) in order of updates.

    A last line that a kill cut short is left out.
    """
    records: dict[int, Record] = {}
    if not path.exists():
        return []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            logger.warning("%s has a line that was not written to its end", path)
            continue
        if record.get("part") == part:
            records[int(record["update"])] = record
    return [records[update] for update in sorted(records)]
