"""A log of lines that a full disk ends, and never the translation."""

import logging
from pathlib import Path

from echostream.errors import ConfigError

logger = logging.getLogger(__name__)


class LineFile:
    """Appends lines.

    Args:
        path: folders to it are made.
        option: that named it, for messages.
        first: what it begins with; ``None`` to go on behind what is there.

    Raises:
        ConfigError: if the file cannot be written at the start. A later failure ends it with one
            warning.
    """

    def __init__(self, path: str | Path, option: str, first: str | None = "") -> None:
        self._path = Path(path)
        self._has_ended = False
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a" if first is None else "w", encoding="utf-8") as file:
                file.write(first or "")
        except OSError as error:
            raise ConfigError(
                f"cannot write {option} {path}: {error.strerror}; expected the path of a file"
            ) from error

    def write(self, line: str) -> None:
        """Append a line, its end included; nothing after a failure."""
        if self._has_ended:
            return
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            self._has_ended = True
            logger.warning("%s ends here, the translation goes on: %s", self._path, error.strerror)
