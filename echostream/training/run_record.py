"""What a run leaves about itself: how it was started (``run.json``) and its course.

``history.jsonl`` has one JSON object a line, written as it happens. A run that is stopped and goes
on writes the updates since its last checkpoint again; the last line of each update counts.
"""

import json
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from echostream.machine import machine, versions
from echostream.training.corpus.utterances import Utterance
from echostream.whole_file import read_back, write_whole

logger = logging.getLogger(__name__)

RECORD = "run.json"
HISTORY = "history.jsonl"
Record = dict[str, Any]


@dataclass(frozen=True)
class RunRecord:
    """``train`` has (corpus, recordings, seconds) of the training part; ``versions`` is a line.

    ``commands`` has the updates that were done and the command of each start that was told
    something else than the one before.
    """

    commands: tuple[tuple[int, str], ...]
    seed: int
    train: tuple[tuple[str, int, float], ...]
    versions: str


def record_run(
    folder: Path, command: str, seed: int, train: Sequence[Utterance], *, updates: int = 0
) -> RunRecord:
    """Write ``run.json``; ``updates`` are those that the run has made before this start."""
    own: defaultdict[str, list[float]] = defaultdict(list)
    for utterance in train:
        own[utterance.corpus].append(utterance.seconds)
    earlier = read_record(folder) if updates else None
    commands = earlier.commands if earlier is not None else ()
    if not commands or commands[-1][1] != command:
        commands = (*commands, (updates, command))
    of, gpu = versions(), machine().get("gpu")
    record = RunRecord(
        commands=commands,
        seed=seed,
        train=tuple((name, len(own[name]), round(sum(own[name]), 1)) for name in sorted(own)),
        versions=f"Python {of['python']}, PyTorch {of['torch']}" + (f", {gpu}" if gpu else ""),
    )
    write_whole(folder / RECORD, json.dumps(asdict(record), indent=2) + "\n")
    return record


def read_record(folder: Path) -> RunRecord | None:
    """What :func:`record_run` wrote; ``None`` where a run was started another way."""
    path = folder / RECORD
    if not path.exists():
        return None
    values = read_back(path, "commands", "train")
    lists = {name: tuple(map(tuple, values[name])) for name in ("commands", "train")}
    return RunRecord(**{**values, **lists})


def append_history(folder: Path, record: Record) -> None:
    """Add one line to a run's history."""
    with (folder / HISTORY).open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def read_history(folder: Path, part: str) -> list[Record]:
    """The records of a part (``train`` or the name of a validation part) in order of updates.

    A last line that a kill cut short is left out.
    """
    path, records = folder / HISTORY, {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
        except ValueError:
            logger.warning("%s has a line that was not written to its end", path)
            continue
        if record["part"] == part:
            records[int(record["update"])] = record
    return [records[update] for update in sorted(records)]
