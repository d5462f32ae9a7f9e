"""A progress bar on standard error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from echostream.errors import DataError

Item = TypeVar("Item")


def progress(items: Iterable[Item], total: int, description: str, unit: str) -> Iterator[Item]:
    """The items, with a bar where standard error is a terminal.

    Raises `DataError` without the package tqdm, which only the extra ``train`` installs.
    """
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise DataError(
            'the Python package tqdm is missing; install it with `pip install "echostream[train]"`'
        ) from error
    yield from tqdm(items, total=total, desc=description, unit=unit, disable=None)
