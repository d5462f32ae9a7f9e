"""What is made once in a run of the tests, also where several processes share the tests."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

_folder = Path()


def begin(factory: pytest.TempPathFactory) -> None:
    """Say where this run keeps its temporary files."""
    global _folder
    base = factory.getbasetemp()
    # The workers of pytest-xdist have folders of their own beside each other.
    _folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def made_once(name: str, make: Callable[[Path], object]) -> Path:
    """The folder of this name; the process that is first fills it with ``make(folder)``.

    Shared by all tests of the run, so not to be changed but as a cache.
    """
    folder = _folder / name
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            making = Path(tempfile.mkdtemp(dir=_folder))
            make(making)
            making.rename(folder)
    return folder
