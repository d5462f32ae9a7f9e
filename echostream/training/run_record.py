"""How a run was started, kept in its folder for the model card."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from echostream.machine import machine, versions
from echostream.training.corpus.utterances import Utterance
from echostream.whole_file import write_whole

RECORD = "run.json"


@dataclass(frozen=True)
class RunRecord:
    """``train`` has (corpus, recordings, seconds) of the training part; ``versions`` is a line.

    ``commands`` has the updates that were done and the command of each start that was told
    something else than the one before; a run that is resumed with the same command has one.
    """

    commands: tuple[tuple[int, str], ...]
    seed: int
    train: tuple[tuple[str, int, float], ...]
    versions: str


def record_run(
    folder: Path, command: str, seed: int, train: Sequence[Utterance], *, updates: int = 0
) -> RunRecord:
    """Write ``run.json``; ``updates`` are those that the run has made before this start."""
    seconds: dict[str, float] = {}
    count: Counter[str] = Counter()
    for utterance in train:
        seconds[utterance.corpus] = seconds.get(utterance.corpus, 0.0) + utterance.seconds
        count[utterance.corpus] += 1
    earlier = read_record(folder) if updates else None
    commands = earlier.commands if earlier is not None else ()
    if not commands or commands[-1][1] != command:
        commands = (*commands, (updates, command))
    record = RunRecord(
        commands=commands,
        seed=seed,
        train=tuple((corpus, count[corpus], round(seconds[corpus], 1)) for corpus in sorted(count)),
        versions=_versions(),
    )
    write_whole(folder / RECORD, json.dumps(asdict(record), indent=2) + "\n")
    return record


def _versions() -> str:
    of, gpu = versions(), machine().get("gpu")
    text = f"Python {of['python']}, PyTorch {of['torch']}"
    return text if gpu is None else f"{text}, {gpu}"


def read_record(folder: Path) -> RunRecord | None:
    """What :func:`record_run` wrote; ``None`` where a run was started another way."""
    path = folder / RECORD
    if not path.exists():
        return None
    values = json.loads(path.read_text(encoding="utf-8"))
    if "command" in values:  # As it was written before a run could have several.
        values["commands"] = [(0, values.pop("command"))]
    values["commands"] = tuple((int(updates), str(text)) for updates, text in values["commands"])
    values["train"] = tuple((c, int(n), float(s)) for c, n, s in values["train"])
    return RunRecord(**values)
