"""Tab-separated tables with a header line and no quoting: fairseq's, Common Voice's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from echostream.errors import DataError
from echostream.training.recipes.manifest import write_text


def read_table(path: Path, required: Sequence[str] = ()) -> list[dict[str, str]]:
    """The rows by column. Raises `DataError` for a missing file, column or cell."""
    lines = read_cells(path)
    header = lines[0] if lines else []
    missing = [column for column in required if column not in header]
    if missing or len(set(header)) != len(header):
        raise DataError(
            f"{path} has the columns {header}, expected each once and among them {list(required)}"
        )
    rows = []
    for number, cells in enumerate(lines[1:], start=2):
        if len(cells) != len(header):
            raise DataError(f"{path}:{number} has {len(cells)} fields, expected {len(header)}")
        rows.append(dict(zip(header, cells, strict=True)))
    return rows


def read_cells(path: Path) -> list[list[str]]:
    """The cells of every line that is not empty. Raises `DataError`."""
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            return [line.rstrip("\r\n").split("\t") for line in file if line.rstrip("\r\n")]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the table {path}: {error}; expected UTF-8 text") from error


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Writes the columns of the rows. A tab or line end in a cell is a `DataError`."""
    lines = ["\t".join(columns)]
    for number, row in enumerate(rows, start=2):
        cells = [str(row[column]) for column in columns]
        for column, cell in zip(columns, cells, strict=True):
            if any(character in cell for character in "\t\r\n"):
                raise DataError(
                    f"{path}:{number}: {column} holds a tab or a line end: {cell!r}; "
                    "replace it by a space"
                )
        lines.append("\t".join(cells))
    write_text(path, "\n".join(lines) + "\n")


def whole_number(path: Path, number: int, column: str, cell: str) -> int:
    """The cell as a whole number of 0 or more. Raises `DataError`."""
    if not (cell.isascii() and cell.isdecimal()):
        raise DataError(f"{path}:{number}: {column} is {cell!r}, expected a whole number")
    return int(cell)


def unique_ids(path: Path, ids: Sequence[str]) -> None:
    """Raises `DataError` when an id stands in two rows."""
    seen: set[str] = set()
    for name in ids:
        if name in seen:
            raise DataError(f"{path}: the id {name!r} stands in two rows; expected one row per id")
        seen.add(name)
