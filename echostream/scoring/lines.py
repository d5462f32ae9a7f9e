"""The lines of a log as JSON objects, damaged ones too, one after the other."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echostream.errors import DataError

LOG_NAME = "instances.log"
"""Name SimulEval gives the log inside its output folder."""

LONGEST_LINE = 2**26
"""Bytes. What has no line end within 64 MiB is no log, and must not fill the memory."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Line:
    """One line that is not blank: either ``record`` is set or ``error`` says why it is not."""

    number: int
    """From 1."""
    where: str
    """``PATH, line N``, as error messages begin."""
    record: Mapping[str, Any] | None
    error: str = ""
    """Without ``where``; one line."""
    is_cut: bool = False
    """The last line, without a line end and not whole: the run was interrupted while writing it."""

    def require(self) -> Mapping[str, Any]:
        """The record. Raises DataError, with path and line, if there is none."""
        if self.record is None:
            raise DataError(f"{self.where}: {self.error}")
        return self.record


def read_lines(path: str | os.PathLike[str]) -> Iterator[Line]:
    """The lines of a file (or pipe) of JSON objects, in order, without the blank ones.

    One line at a time is in memory. Raises DataError for a file that cannot be read and for a line
    that is longer than :data:`LONGEST_LINE`. What else is wrong with a line is in the line.
    """
    name = os.fspath(path)
    try:
        with Path(name).open("rb") as file:
            number = 0
            while content := file.readline(LONGEST_LINE):
                number += 1
                if len(content) == LONGEST_LINE:
                    raise DataError(
                        f"{name}, line {number}: has no end within {LONGEST_LINE} bytes; expected "
                        "one JSON object per line, as SimulEval and simulstream write them"
                    )
                if number == 1:
                    content = content.removeprefix(_BYTE_ORDER_MARK)
                if content.strip():
                    yield _line(content, number, f"{name}, line {number}")
    except OSError as error:
        raise DataError(
            f"{name}: cannot be read: {error.strerror}; expected the {LOG_NAME} of a SimulEval run "
            "with --output, or simulstream's metrics log"
        ) from error


def _line(content: bytes, number: int, where: str) -> Line:
    try:
        record = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        if not content.endswith(b"\n"):
            message = (
                f"the last line is cut short after {len(content)} bytes; expected a whole JSON "
                "object; the run was interrupted: delete this line and go on with SimulEval's "
                "--continue-unfinished"
            )
            return Line(number, where, None, message, is_cut=True)
        reason = " ".join(str(error).split())
        message = f"is not JSON ({reason}); expected one JSON object per line"
        return Line(number, where, None, message)
    if not isinstance(record, dict):
        kind = type(record).__name__
        message = f"is a JSON {kind}; expected an object as SimulEval writes it"
        # A cut line can be valid JSON only if it is no object: objects end with a brace.
        return Line(number, where, None, message, is_cut=not content.endswith(b"\n"))
    return Line(number, where, record)
