"""SimulEval's lists, read back: one recording, one reference, one transcript a line.

The recipes write them (`manifest.write_lists`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from echostream.errors import DataError


@dataclass(frozen=True)
class ListedUtterance:
    """A line of the lists; ``src_text`` is empty where there is no list of transcripts."""

    audio: Path
    tgt_text: str
    src_text: str = ""


def read_lists(source: Path, target: Path, transcript: Path | None = None) -> list[ListedUtterance]:
    """The lines of ``--source``, ``--target`` and perhaps transcripts, side by side.

    A relative recording is looked for where the program was started, as SimulEval does. Raises
    `DataError` when the lists differ in length or a recording is missing.
    """
    audio, targets = _lines(source), _lines(target)
    transcripts = _lines(transcript) if transcript is not None else [""] * len(audio)
    if not len(audio) == len(targets) == len(transcripts):
        raise DataError(
            f"{source} has {len(audio)} lines, {target} {len(targets)}"
            + (f", {transcript} {len(transcripts)}" if transcript is not None else "")
            + "; expected as many in each"
        )
    missing = [line for line in audio if not Path(line).is_file()]
    if missing:
        raise DataError(
            f"{source} names {len(missing)} recordings that are not there, the first is "
            f"{missing[0]!r}; run `echostream data` again if the folder was moved"
        )
    return [
        ListedUtterance(Path(line), text, spoken)
        for line, text, spoken in zip(audio, targets, transcripts, strict=True)
    ]


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the list {path}: {error}") from error
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines
