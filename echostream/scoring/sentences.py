"""The sentences of long recordings: where they are and what should be said.

The list is MuST-C's, which simulstream and OmniSTEval take: YAML or JSON, one mapping
for each sentence, times in seconds, other keys passed over; their texts are a line each::

    - {duration: 4.07, offset: 12.61, wav: ted_1096.wav}
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from echostream.errors import DataError
from echostream.text import read_lines
from echostream.whole_file import write_whole


@dataclass(frozen=True)
class Sentence:
    """One sentence; times in ms."""

    recording: str
    """Path or name of the recording's file."""
    offset: float
    """Where it begins in the recording."""
    duration: float
    text: str

    @property
    def end(self) -> float:
        """Where it ends in the recording."""
        return self.offset + self.duration


def read_sentences(segments: Path, references: Path) -> list[Sentence]:
    """The sentences of a list of segments, in its order.

    references: a line for each segment.

    Raises DataError, with the place, for a file that cannot be read, a segment without ``wav``,
    ``offset`` or ``duration``, times that are none, and another number of lines.
    """
    # The one in C, where there is one: lists have thousands of segments.
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        text = segments.read_text(encoding="utf-8")
        found = json.loads(text) if segments.suffix == ".json" else yaml.load(text, Loader=loader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise DataError(f"list of segments {segments} cannot be read: {error}") from error
    if not isinstance(found, list) or not found:
        raise DataError(f"{segments} holds no list; expected {{wav, offset, duration}} a sentence")
    lines = read_lines(references, "list of references")
    if len(lines) != len(found):
        raise DataError(
            f"{references} has {len(lines)} lines for {len(found)} segments of {segments}; "
            "expected a line for each"
        )
    return [
        _sentence(f"{segments}: segment {number}", segment, line.strip())
        for number, (segment, line) in enumerate(zip(found, lines, strict=True), 1)
    ]


def _sentence(where: str, segment: Any, text: str) -> Sentence:
    try:
        offset, duration = (1000 * float(segment[key]) for key in ("offset", "duration"))
        recording = str(segment["wav"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{where} is {segment!r}; expected wav, and offset and duration in seconds"
        ) from error
    if not all(0 <= time < math.inf for time in (offset, duration)):
        raise DataError(f"{where} is at {segment!r}; expected finite times from 0 up")
    return Sentence(recording, offset, duration, text)


def write_sentences(sentences: Sequence[Sentence], segments: Path, references: Path) -> None:
    """Write both files; DataError if that is not possible."""
    lines = [
        f"- {{duration: {each.duration / 1000:.6f}, offset: {each.offset / 1000:.6f}, "
        f"wav: {json.dumps(each.recording)}}}\n"
        for each in sentences
    ]
    write_whole(segments, "".join(lines))
    write_whole(references, "".join(f"{each.text}\n" for each in sentences))
