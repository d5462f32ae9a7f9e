"""The segment log: what each segment of each recording cost, stage by stage.

SimulEval's ``instances.log`` holds one elapsed time a word, in which all compute so far is added to
the audio sent. With this log beside it, named ``segments.log``, ``echostream score`` can say what a
word's delay is made of, and what it would be where compute overlaps with waiting for audio.

One JSON line for each recording, written when it ends; times are in ms::

    {"index": 0, "segments": [{"audio_ms": 320.0, "costs_ms": {"encoder": 5.3, ...}, "words": 2}]}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echostream.session.costs import Costs, rounded
from echostream.session.line_file import LineFile
from echostream.session.session import Segment, StreamObserver
from echostream.session.translator import Step, TranslatorState

LOG_NAME = "segments.log"


@dataclass(frozen=True)
class SegmentRecord:
    """One segment."""

    audio_ms: float
    """Audio sent so far, this segment included."""
    costs: Costs
    num_words: int
    """Words written in answer to it."""

    def to_json(self) -> dict[str, Any]:
        """As the log has it; compute times to the microsecond."""
        costs = rounded(self.costs)
        return {"audio_ms": self.audio_ms, "costs_ms": costs, "words": self.num_words}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SegmentRecord:
        """What :meth:`to_json` wrote; KeyError, TypeError or ValueError for anything else."""
        costs = {str(stage): float(cost) for stage, cost in value["costs_ms"].items()}
        return cls(float(value["audio_ms"]), costs, int(value["words"]))


def segment_line(index: int, records: list[SegmentRecord]) -> str:
    """The line of recording ``index``."""
    return json.dumps({"index": index, "segments": [each.to_json() for each in records]}) + "\n"


class SegmentLog:
    """Appends a line to a file for each recording.

    Args:
        path: an old file of that name is emptied.
        continues: whether it is gone on with instead.

    Raises:
        ConfigError: if the file cannot be written at the start. Later failures (a full disk) end
            the log with one warning and never the translation.
    """

    def __init__(self, path: str | Path, *, continues: bool = False) -> None:
        self._file = LineFile(path, "--segment-log", None if continues else "")

    def begin(self, recording: int, state: TranslatorState) -> StreamObserver:
        """See :class:`~echostream.session.session.Observer`."""
        return _Recording(recording, self._file)


class _Recording(StreamObserver):
    def __init__(self, recording: int, file: LineFile) -> None:
        self._recording = recording
        self._file = file
        self._records: list[SegmentRecord] = []

    def stepped(self, segment: Segment, step: Step, state: TranslatorState) -> None:
        """Note a segment; the line is written at the end."""
        record = SegmentRecord(state.listener.audio_ms, step.costs, len(step.words))
        self._records.append(record)
        if segment.is_final:
            self._file.write(segment_line(self._recording, self._records))
