"""Where checkpoints are: what comes with the package by name, and what was fetched by name.

The cache is ``ECHOSTREAM_CACHE``, or ``echostream`` in ``XDG_CACHE_HOME``, or
``~/.cache/echostream``; each checkpoint is a folder of its name in it.
"""

import os
from pathlib import Path

from echostream.errors import CheckpointError, ConfigError
from echostream.shipped import SHIPPED_FOLDER

FETCHED = {"whisper-base": 145}
"""Checkpoints that ``echostream fetch`` knows, with the megabytes that each is."""


def cache_folder() -> Path:
    """Where fetched checkpoints are kept; it need not be there yet."""
    own = os.environ.get("ECHOSTREAM_CACHE")
    return Path(own) if own else users_cache()


def users_cache() -> Path:
    """``echostream`` in the user's own cache.

    Raises:
        ConfigError: if the user has no home, as in some containers.
    """
    given = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(given) if given else Path.home() / ".cache") / "echostream"
    except RuntimeError as error:
        raise ConfigError(f"{error}; set XDG_CACHE_HOME") from error


def find_checkpoint(name: str | Path) -> Path:
    """The folder that is meant by a path, or by the name of a shipped or fetched checkpoint.

    A folder of that name in the current directory comes first. A path that leads nowhere is given
    back as it is.

    Raises:
        CheckpointError: if it is a checkpoint that has to be fetched first.
    """
    path = Path(name)
    if path.exists() or path.name != str(name):
        return path
    is_shipped = (SHIPPED_FOLDER / path / "config.json").is_file()
    folder = SHIPPED_FOLDER if is_shipped else cache_folder()
    if is_shipped or (folder / path / "config.json").is_file():
        return (folder / path).resolve()
    if path.name in FETCHED:
        raise CheckpointError(
            f"the checkpoint {path.name} is not in {cache_folder()}; run `echostream fetch "
            f"{path.name}` once ({FETCHED[path.name]} MB)"
        )
    return path
