"""The lines of a log as JSON objects, damaged ones too, one after the other."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echostream.errors import DataError

LOG_NAME = "instances.log"
"""Name SimulEval gives the log inside its output folder."""

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

    Raises DataError for a file that cannot be read. What is wrong with a line is in the line.
    """
    name = os.fspath(path)
    try:
        with Path(name).open("rb") as file:
            for number, content in enumerate(file, 1):
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
    # A cut line can be valid JSON only if it is no object: objects end with a brace.
    is_cut = not content.endswith(b"\n")
    try:
        record = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        if is_cut:
            message = (
                f"the last line is cut short after {len(content)} bytes; expected a whole JSON "
                "object; the run was interrupted: delete this line and go on with SimulEval's "
                "--continue-unfinished"
            )
        else:
            reason = " ".join(str(error).split())
            message = f"is not JSON ({reason}); expected one JSON object per line"
        return Line(number, where, None, message, is_cut)
    if not isinstance(record, dict):
        message = f"is a JSON {type(record).__name__}; expected an object as SimulEval writes it"
        return Line(number, where, None, message, is_cut)
    return Line(number, where, record)
