"""A whole log as it is: what can be scored, and what is damaged, missing or there twice.

What is whole is scored and the rest is counted as :class:`~echostream.scoring.problems.Problem`.
Of lines with the same index the last one counts, as for SimulEval when it scores a log.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from echostream.errors import DataError
from echostream.scoring.instance import Instance, is_speech_output, log_unit, parse_instance
from echostream.scoring.lines import LOG_NAME, Line, read_lines
from echostream.scoring.pieces import Tokenizer
from echostream.scoring.problems import Problem, problem
from echostream.scoring.segments import SEGMENT_LOG_NAME, fits, read_segments
from echostream.scoring.speech import SpeechInstance, parse_speech

METRICS_NAME = "metrics.tsv"
"""SimulEval writes one row per instance into it when a run has come to its end."""


@dataclass(frozen=True)
class Log:
    """What a folder's ``instances.log`` holds. Either ``instances`` or ``speech`` is empty."""

    instances: tuple[Instance, ...]
    """Of a run with text output, by rising index."""
    speech: tuple[SpeechInstance, ...]
    """Of a run with speech output, by rising index."""
    records: tuple[Mapping[str, Any], ...]
    """The JSON objects of these, as they are, in the same order."""
    problems: tuple[Problem, ...]
    """Of the file; those of instances are found by :func:`~echostream.scoring.problems.
    check_instances`."""

    @property
    def has_text(self) -> bool:
        """Whether the output of the run was text."""
        return not self.speech


def read_log(
    folder: str | os.PathLike[str],
    *,
    joined_pieces: bool | None = None,
    tokenize: Tokenizer | None = None,
    expected: int | None = None,
    is_strict: bool = False,
) -> Log:
    """Read ``instances.log`` of a folder, with ``segments.log`` and the count of ``metrics.tsv``.

    joined_pieces, tokenize: as :func:`echostream.scoring.instance.parse_instance`.
    expected: number of instances of the whole run, if known; indices are then 0 .. expected - 1.
    is_strict: refuse what would be counted as damage of a line.

    Raises DataError if the file cannot be read or holds nothing that can be scored; if strict, for
    the first line that cannot be used as it is.
    """
    path = Path(folder) / LOG_NAME
    lines = read_lines(path)
    unit = log_unit([line.record for line in lines if line.record is not None])
    has_speech = _has_speech(lines)
    kept: dict[int, tuple[Instance | SpeechInstance, Mapping[str, Any]]] = {}
    unusable: list[tuple[Line, str]] = []
    repeated: list[int] = []
    instance: Instance | SpeechInstance
    for line in lines:
        try:
            record = line.require()
            if is_speech_output(record) is not has_speech:
                raise DataError(f"{line.where}: some lines are of text and some of speech output")
            if has_speech:
                instance = parse_speech(record, line.where)
            else:
                instance = parse_instance(
                    record, line.where, unit=unit, joined_pieces=joined_pieces, tokenize=tokenize
                )
        except DataError as error:
            if is_strict:
                raise
            unusable.append((line, str(error)))
            continue
        if is_strict and instance.faults:
            raise DataError(f"{line.where}: {instance.faults[0].message}")
        if instance.index in kept:
            if is_strict:
                raise DataError(f"{line.where}: index {instance.index} was there before")
            repeated.append(instance.index)
        kept[instance.index] = instance, record
    if not kept:
        reason = unusable[0][1] if unusable else f"{path}: holds no instances"
        raise DataError(f"{reason}; nothing in this log can be scored")
    found = _line_problems(unusable, repeated)
    found += _missing(folder, sorted(kept), expected)
    ordered = [kept[index] for index in sorted(kept)]
    texts = _without_chosen([ins for ins, _ in ordered if isinstance(ins, Instance)])
    if texts:
        texts, more = _with_segments(texts, Path(folder) / SEGMENT_LOG_NAME)
        found += more
    return Log(
        instances=tuple(texts),
        speech=tuple(ins for ins, _ in ordered if isinstance(ins, SpeechInstance)),
        records=tuple(record for _, record in ordered),
        problems=tuple(found),
    )


def _has_speech(lines: Sequence[Line]) -> bool:
    records = [line.record for line in lines if line.record is not None]
    return 2 * sum(map(is_speech_output, records)) > len(records)


def _without_chosen(instances: list[Instance]) -> list[Instance]:
    """The same without any times if the pieces of some instances are not known.

    Those of which they are known all the same are the ones that were written at once, mostly at the
    end, so a mean over them would be a mean over a choice.
    """
    lost = [
        fault
        for instance in instances
        for fault in instance.faults
        if fault.kind in ("unknown-pieces", "joined-words")
    ]
    if not lost:
        return instances
    return [
        replace(instance, delays=(), elapsed=(), faults=instance.faults or (lost[0],))
        if instance.prediction.split()
        else instance
        for instance in instances
    ]


def _line_problems(unusable: Sequence[tuple[Line, str]], repeated: Sequence[int]) -> list[Problem]:
    found = problem(
        "truncated-line",
        [line.number for line, _ in unusable if line.is_cut],
        "the last line is cut short, so the run was interrupted; left out; SimulEval's "
        "--continue-unfinished fails on such a line: delete it first",
        places="line",
    )
    other = [(line, reason) for line, reason in unusable if not line.is_cut]
    if other:
        first, reason = other[0]
        found += problem(
            "unusable-line",
            [line.number for line, _ in other],
            f"left out; line {first.number}{reason.removeprefix(first.where)}",
            places="line",
        )
    meaning = "there more than once; the last line counts, as for SimulEval"
    return found + problem("duplicate-index", set(repeated), meaning)


def _missing(
    folder: str | os.PathLike[str], indices: Sequence[int], expected: int | None
) -> list[Problem]:
    if expected is not None:
        found = problem(
            "missing-line",
            set(range(expected)) - set(indices),
            f"not in the log, though the run has {expected} instances",
        )
        beyond = [index for index in indices if index >= expected]
        return found + problem(
            "unknown-index", beyond, f"in the log, though the run has {expected} instances"
        )
    rows = _metrics_rows(Path(folder) / METRICS_NAME)
    if rows is None:
        meaning = (
            "nothing here says how many instances the run had, so a log that ends early at a line "
            "end cannot be told from a whole one; give --source or --num-instances"
        )
        return [Problem("unknown-length", 1, (), meaning, is_error=False)]
    if rows != len(indices):
        meaning = f"{METRICS_NAME} has {rows} rows for {len(indices)} instances of the log"
        return [Problem("missing-line", abs(rows - len(indices)), (), meaning)]
    return []


def _metrics_rows(path: Path) -> int | None:
    try:
        header, *rows = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except (OSError, ValueError):
        return None
    return len(rows) if header.strip() else None


def _with_segments(instances: list[Instance], path: Path) -> tuple[list[Instance], list[Problem]]:
    if not path.exists():
        return instances, []
    table, unusable = read_segments(path)
    found = problem("segment-log-line", unusable, "segments.log cannot be used", places="line")
    matched: list[Instance] = []
    unmatched: list[int] = []
    for instance in instances:
        segments = table.get(instance.index)
        if segments is not None and not instance.faults and fits(segments, instance.delays):
            instance = replace(instance, segments=segments)
        elif not instance.faults:
            unmatched.append(instance.index)
        matched.append(instance)
    meaning = (
        "segments.log has no utterance of this index whose words have these delays; the elapsed "
        "times are used instead"
    )
    return matched, found + problem("segment-log-mismatch", unmatched, meaning)
