"""What a full disk is called, and the sums of files."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from echostream.errors import DataError


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turns a full or closed disk under ``folder`` into a `DataError`."""
    try:
        yield
    except OSError as error:
        advice = {
            errno.ENOSPC: "the disk is full: free some space or name another folder",
            errno.EDQUOT: "the disk quota is used up: free some space or name another folder",
            errno.EACCES: "no permission to write there: name another folder",
            errno.EROFS: "the file system is read-only: name another folder",
        }.get(error.errno or 0, "check the folder and run again")
        raise DataError(f"cannot read or write under {folder}: {error}; {advice}") from error
