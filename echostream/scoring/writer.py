"""Which tool wrote a log, from what it left in the folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from echostream.scoring.earlier import same_figure
from echostream.scoring.log import Log
from echostream.scoring.printed import (
    AWARE,
    SIMULEVAL_MAIN,
    SIMULEVAL_RELEASE,
    STREAMSPEECH,
    Printed,
    printed_speech,
    printed_text,
)

SIMULEVAL = "simuleval"
UNKNOWN_WRITER = "unknown"


@dataclass(frozen=True)
class Writer:
    """A tool, and how it was recognised."""

    name: str
    """One of :data:`echostream.scoring.printed.WRITERS`, or ``simuleval`` (its release or its main,
    which print the same for this log), or ``unknown``."""
    reason: str
    is_computation_aware: bool | None
    """Whether the run had --computation-aware; None if nothing tells."""


def find_writer(
    folder: Path, log: Log, table: Mapping[str, float] | None, stated: str | None
) -> Writer:
    """The tool that wrote a log.

    table: columns of the ``scores.tsv`` that it left, if there is one. stated: what the user says,
    which counts more than what is found.
    """
    aware = None if table is None else any(name.endswith(AWARE) for name in table)
    if stated is not None:
        return Writer(stated, "as stated", aware)
    if any("metric" in record for record in log.records):
        return Writer(STREAMSPEECH, "the log has its key `metric`", aware)
    # StreamSpeech's logs of text are known by their key; those of speech have no such mark.
    known = (SIMULEVAL_MAIN, SIMULEVAL_RELEASE, *(() if log.has_text else (STREAMSPEECH,)))
    fitting = [name for name in known if table is not None and _explains(log, table, name)]
    if len(fitting) == 1:
        return Writer(fitting[0], "scores.tsv has the figures that it prints", aware)
    if log.has_text:
        target = _target_type(folder / "config.yaml")
        if target == "speech":
            reason = "config.yaml says target_type: speech of a run with text output"
            return Writer(SIMULEVAL_RELEASE, reason, aware)
        if target == "text":
            return Writer(SIMULEVAL_MAIN, "config.yaml says target_type: text", aware)
    if fitting == [SIMULEVAL_MAIN, SIMULEVAL_RELEASE]:
        return Writer(SIMULEVAL, "scores.tsv has the figures that both its versions print", aware)
    return Writer(UNKNOWN_WRITER, "nothing in the folder tells", aware)


def printed_by(log: Log, writer: str, is_computation_aware: bool) -> Printed:
    """What the tool prints for the log, see :mod:`echostream.scoring.printed`."""
    if log.has_text:
        return printed_text(log.records, log.instances, writer, is_computation_aware)
    return printed_speech(log.speech, writer, is_computation_aware)


def _explains(log: Log, table: Mapping[str, float], writer: str) -> bool:
    """Whether every column of the table that can be told is what this tool prints."""
    printed = printed_by(log, writer, any(name.endswith(AWARE) for name in table))
    told = [name for name in table if name in printed]
    return bool(told) and all(same_figure(table[name], printed[name]) for name in told)


def _target_type(path: Path) -> str | None:
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    target = config.get("target_type") if isinstance(config, dict) else None
    return target if isinstance(target, str) else None
