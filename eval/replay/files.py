"""Files that are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

from echostream.errors import DataError


def write_whole(path: Path, data: bytes) -> None:
    """Write beside and rename, so that a kill in between leaves no half of a file.

    The name of the part holds the process number: two programs may fill one folder at once.

    Raises:
        DataError: if it cannot be written.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(data)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written: {error.strerror}; expected a folder that can be written "
            "to, with space left"
        ) from error
