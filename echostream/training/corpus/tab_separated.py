"""Tab-separated tables with a header line and no quoting: ours, fairseq's, Common Voice's."""

import functools
import logging
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from echostream.errors import DataError
from echostream.text import read_lines
from echostream.whole_file import write_whole

logger = logging.getLogger(__name__)

SELECTING = (
    *("channel", "channels", "channel_id", "channel_ids", "split", "subset"),
    *("start", "begin", "end", "offset", "duration", "sample_rate", "sampling_rate", "rate"),
    *("speed", "tempo", "transform", "transforms", "gain", "volume"),
)
"""Names of fields that choose or change what is heard: never left unread."""
_STAND_INS = {'"': "\ufdd0", "\\": "\ufdd1", "\t": "\ufdd2"}
_ESCAPED = re.compile(r'\\(["\\\t])')
_UNESCAPED = str.maketrans({stand_in: sign for sign, stand_in in _STAND_INS.items()})


def check_fields(where: object, fields: Iterable[str], read: Collection[str]) -> None:
    """Names fields that are not ``read``; `DataError` for those of `SELECTING` among them."""
    unread = sorted(set(fields) - set(read))
    refused = [field for field in unread if field in SELECTING]
    if refused:
        raise DataError(
            f"{where} has the field {refused[0]!r}, which is not honoured here; expected some of "
            f"{', '.join(read)}: apply it to the recordings, then remove it"
        )
    if unread:
        _say_unread(str(where), ", ".join(unread))


@functools.cache
def _say_unread(where: str, fields: str) -> None:
    """Once for all rows that have them."""
    logger.warning("%s: not read: %s", where, fields)


def read_table(
    path: Path, required: Sequence[str] = (), *, escapes: bool = False
) -> list[tuple[int, dict[str, str]]]:
    """The rows as (line number, cells by column); empty lines are none.

    ``escapes`` undoes the backslashes that pandas writes before quotes, backslashes and tabs, as
    fairseq's recipes, CoVoST 2 and Common Voice have it write their tables. Raises `DataError` for
    a missing file, ``required`` column or cell.
    """
    numbered = enumerate(read_lines(path, "table"), start=1)
    lines = [(number, _cells(line, escapes)) for number, line in numbered if line]
    header = lines[0][1] if lines else []
    missing = [column for column in required if column not in header]
    if missing:
        raise DataError(
            f"{path} has no column {missing[0]}; it has {header}, expected {list(required)}"
        )
    if len(set(header)) != len(header):
        raise DataError(f"{path} has the columns {header}, expected each once")
    for number, cells in lines[1:]:
        if len(cells) != len(header):
            raise DataError(f"{path}:{number} has {len(cells)} fields, expected {len(header)}")
    return [(number, dict(zip(header, cells, strict=True))) for number, cells in lines[1:]]


def _cells(line: str, escapes: bool) -> list[str]:
    if not escapes or "\\" not in line:
        return line.split("\t")
    line = _ESCAPED.sub(lambda match: _STAND_INS[match[1]], line)
    return [cell.translate(_UNESCAPED) for cell in line.split("\t")]


def write_table(
    path: Path,
    columns: Sequence[str],
    rows: Iterable[Mapping[str, object]],
    *,
    escapes: bool = False,
) -> None:
    """Writes the columns of the rows; ``escapes`` doubles backslashes, as `read_table` undoes.

    Raises `DataError` for a tab or line end in a cell.
    """
    lines = ["\t".join(columns)]
    for number, row in enumerate(rows, start=2):
        cells = [str(row[column]) for column in columns]
        for column, cell in zip(columns, cells, strict=True):
            if any(character in cell for character in "\t\r\n"):
                raise DataError(
                    f"{path}:{number} (id {row.get('id')}): {column} holds a tab or a line end: "
                    f"{cell!r}; replace it by a space"
                )
        line = "\t".join(cells)
        lines.append(line.replace("\\", "\\\\") if escapes else line)
    write_whole(path, "\n".join(lines) + "\n")


def unique_ids(path: Path, ids: Iterable[str]) -> None:
    """Raises `DataError` when an id stands in two rows."""
    seen: set[str] = set()
    for name in ids:
        if name in seen:
            raise DataError(f"{path}: the id {name!r} stands in two rows; expected one row per id")
        seen.add(name)
