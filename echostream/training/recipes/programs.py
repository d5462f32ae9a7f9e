"""Programs that a recipe starts."""

import shutil

from echostream.errors import DataError


def find_program(name: str, advice: str) -> str:
    """The full path of a program; `DataError` with what to do where it is not installed."""
    found = shutil.which(name)
    if found is None:
        raise DataError(f"the program {name} is not installed; {advice}")
    return found
