"""The segment log: what each segment of each recording cost, stage by stage.

SimulEval's ``instances.log`` holds one elapsed time a word, in which all compute so far is added to
the audio sent. With this log beside it, named ``segments.log``, ``echostream score`` can say what a
word's delay is made of, and what it would be where compute overlaps with waiting for audio.

One JSON line for each recording, written when it ends; times are in ms and each segment is
``[audio, front end, encoder, CTC heads, decoder, policy, words]``::

    {"index": 0, "segments": [[320.0, 0.5, 5.3, 0.2, 0.7, 0.1, 2], ...]}
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from echostream.errors import ConfigError
from echostream.session.costs import StageCosts

LOG_NAME = "segments.log"


@dataclass(frozen=True)
class SegmentRecord:
    """One segment."""

    audio_ms: float
    """Audio sent so far, this segment included."""
    costs: StageCosts
    num_words: int
    """Words written in answer to it."""

    def row(self) -> list[float | int]:
        """As the log has it; compute times to the microsecond."""
        stages = (round(cost, 3) for cost in astuple(self.costs))
        return [self.audio_ms, *stages, self.num_words]

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> SegmentRecord:
        """What :meth:`row` wrote; TypeError or ValueError for a row of another length."""
        audio_ms, front_end, encoder, heads, decoder, policy, num_words = row
        return cls(audio_ms, StageCosts(front_end, encoder, heads, decoder, policy), num_words)


def segment_line(index: int, records: list[SegmentRecord]) -> str:
    """The line of recording ``index``."""
    return json.dumps({"index": index, "segments": [record.row() for record in records]}) + "\n"


class SegmentLog:
    """Appends a line to a file for each recording; an old file of that name is emptied.

    Raises:
        ConfigError: if the file cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text("", encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"cannot write --segment-log {path}: {error.strerror}; expected the path of a file"
            ) from error

    def write(self, index: int, records: list[SegmentRecord]) -> None:
        """Add the line of a recording that has ended."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(segment_line(index, records))
