"""Files that are whole or not there: written beside their place and renamed; their checksums."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from echostream.errors import DataError


def sha256_of(path: str | Path) -> str:
    """Hex SHA-256 of a file's bytes; OSError if it cannot be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A name in the same folder to write to; the file takes the place of ``path`` on success.

    The folder is made. Whatever ends the block early leaves the old file as it was. The name is of
    this block alone, because programs on several machines may fill one folder at once.

    Raises:
        OSError: if the folder cannot be made or the file not be put in its place.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid4().hex[:12]}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: str | Path, data: bytes | str) -> None:
    """Write all of ``data``, text as UTF-8 with Unix line ends, or leave the old file.

    Raises:
        DataError: if it cannot be written.
    """
    try:
        with replacing(path) as part:
            part.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written: {error.strerror}; expected a folder that can be written "
            "to, with space left"
        ) from error


def read_back(path: str | Path, *keys: str) -> dict[str, Any]:
    """The JSON object, with at least these keys, that an earlier run of a command has left.

    Raises:
        DataError: if the file cannot be read, or holds something else.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        for key in keys:
            found[key]
        return dict(found)
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise DataError(
            f"{path} is damaged ({error!r}); expected what the command wrote: delete the file and "
            "run the command again"
        ) from error
