"""A whole log as it is: what can be scored, and what is damaged, missing or there twice.

What is whole is scored and the rest is counted as :class:`~echostream.scoring.problems.Problem`.
Of lines with the same index the last one counts, as for SimulEval when it scores a log.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from echostream import text
from echostream.errors import DataError
from echostream.scoring.instance import Instance, is_speech_output, parse_instance
from echostream.scoring.lines import LOG_NAME, Line, read_lines
from echostream.scoring.problems import Problem, problem
from echostream.scoring.segments import SEGMENT_LOG_NAME, fits, read_segments
from echostream.scoring.simulstream import SIMULSTREAM_NAMES, read_recordings
from echostream.scoring.speech import SpeechInstance, parse_speech
from echostream.scoring.units import Tokenizer, Unit, log_unit

METRICS_NAME = "metrics.tsv"
"""SimulEval writes one row per instance into it when a run has come to its end."""


@dataclass(frozen=True)
class Log:
    """What a log holds. Either ``instances`` or ``speech`` is empty."""

    instances: tuple[Instance, ...]
    """Of a run with text output, by rising index."""
    speech: tuple[SpeechInstance, ...]
    """Of a run with speech output, by rising index."""
    problems: tuple[Problem, ...]
    """Of the file; those of instances are found by :func:`~echostream.scoring.problems.
    check_instances`."""
    has_references: bool = True
    """False for simulstream's logs without a list of references."""

    @property
    def has_text(self) -> bool:
        """Whether the output of the run was text."""
        return not self.speech


def find_log(path: str | os.PathLike[str]) -> Path:
    """The log in a folder, or the path itself if it is no folder."""
    found = Path(path)
    if not found.is_dir():
        return found if found.exists() else found / LOG_NAME
    names = [LOG_NAME, *SIMULSTREAM_NAMES]
    return next((found / name for name in names if (found / name).exists()), found / LOG_NAME)


def read_instances(path: str | os.PathLike[str]) -> list[Instance]:
    """All instances of a log with text output, by rising index; refuses what is not whole.

    Raises DataError as :func:`read_log` if strict, and for speech output.
    """
    log = read_log(path, is_strict=True)
    if not log.has_text:
        raise DataError(f"{os.fspath(path)}: is of a run with speech output; expected text output")
    return list(log.instances)


def read_log(
    path: str | os.PathLike[str],
    *,
    tokenize: Tokenizer | None = None,
    expected: int | None = None,
    is_strict: bool = False,
    references: str | os.PathLike[str] | None = None,
) -> Log:
    """Read a log of SimulEval or simulstream, line by line.

    path: of the log (a pipe too), or of the folder that holds it. Beside a file of SimulEval's name
        its ``segments.log`` and the count of ``metrics.tsv`` are read too.
    tokenize: as :func:`echostream.scoring.instance.parse_instance`.
    expected: number of instances of the whole run, if known; indices are then 0 .. expected - 1.
    is_strict: refuse what would be counted as damage of a line.
    references: for simulstream's logs, a line for each recording in the order of the log.

    Raises DataError if the file cannot be read or holds nothing that can be scored; if strict, for
    the first line that cannot be used as it is.
    """
    path = find_log(path)
    lines = list(read_lines(path))
    if any("total_audio_processed" in (line.record or {}) for line in lines):
        return _simulstream_log(path, lines, expected, is_strict, references)
    if references is not None:
        raise DataError(
            f"{path}: has references of its own; expected --references for simulstream's logs only"
        )
    records = [line.record for line in lines if line.record is not None]
    unit = log_unit(records)
    has_speech = 2 * sum(map(is_speech_output, records)) > len(records)
    kept: dict[int, Instance | SpeechInstance] = {}
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
                instance = parse_instance(record, line.where, unit=unit, tokenize=tokenize)
        except DataError as error:
            if is_strict:
                raise
            unusable.append((line, str(error)))
            continue
        is_repeated = instance.index in kept
        if is_strict and (instance.faults or is_repeated):
            reasons = [fault.message for fault in instance.faults]
            reasons.append(f"index {instance.index} was there before")
            raise DataError(f"{line.where}: {reasons[0]}")
        repeated += [instance.index] * is_repeated
        kept[instance.index] = instance
    if not kept:
        reason = unusable[0][1] if unusable else f"{path}: holds no instances"
        raise DataError(f"{reason}; nothing in this log can be scored")
    found = _line_problems(unusable, repeated)
    found += _missing(path, sorted(kept), expected)
    if unit is Unit.WHOLE_PIECE:
        meaning = "no piece has a word mark, so each piece is taken for a word"
        found.append(Problem("unmarked-pieces", len(kept), (), meaning, is_error=False))
    ordered = [kept[index] for index in sorted(kept)]
    texts = _without_chosen([ins for ins in ordered if isinstance(ins, Instance)])
    if texts and path.name == LOG_NAME:
        texts, more = _with_segments(texts, path.with_name(SEGMENT_LOG_NAME))
        found += more
    speech = tuple(ins for ins in ordered if isinstance(ins, SpeechInstance))
    return Log(tuple(texts), speech, tuple(found))


def _simulstream_log(
    path: Path,
    lines: Sequence[Line],
    expected: int | None,
    is_strict: bool,
    references: str | os.PathLike[str] | None,
) -> Log:
    if is_strict:
        for line in lines:
            line.require()
    texts = None if references is None else text.read_lines(Path(references), "list of references")
    unusable = [(line, f"{line.where}: {line.error}") for line in lines if line.record is None]
    instances = read_recordings([line for line in lines if line.record is not None], texts)
    for instance in instances:
        if is_strict and instance.faults:
            raise DataError(f"{path}: {instance.source_file}: {instance.faults[0].message}")
    found = _line_problems(unusable, [])
    found += _missing(path, range(len(instances)), expected)
    if texts is None:
        meaning = (
            "simulstream's logs hold no references, so there is no quality and no figure that "
            "divides by their length; give --references FILE, a line for each recording"
        )
        found.append(Problem("no-references", len(instances), (), meaning, is_error=False))
    return Log(tuple(instances), (), tuple(found), has_references=texts is not None)


def _without_chosen(instances: list[Instance]) -> list[Instance]:
    """The same without any times if the pieces of some instances are not known.

    Those of which they are known all the same are the ones that were written at once, mostly at the
    end, so a mean over them would be a mean over a choice.
    """
    faults = [fault for instance in instances for fault in instance.faults]
    lost = [fault for fault in faults if fault.kind in ("unknown-pieces", "joined-words")][:1]
    return [
        replace(instance, delays=(), elapsed=(), faults=instance.faults or tuple(lost))
        if lost and instance.prediction.split()
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


def _missing(path: Path, indices: Sequence[int], expected: int | None) -> list[Problem]:
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
    rows = _metrics_rows(path.with_name(METRICS_NAME)) if path.name == LOG_NAME else None
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
    fitting = {
        ins.index: table[ins.index]
        for ins in instances
        if not ins.faults and ins.index in table and fits(table[ins.index], ins.delays)
    }
    unmatched = [ins.index for ins in instances if not ins.faults and ins.index not in fitting]
    meaning = (
        "segments.log has no utterance of this index whose words have these delays; the elapsed "
        "times are used instead"
    )
    found = problem("segment-log-line", unusable, "segments.log cannot be used", places="line")
    found += problem("segment-log-mismatch", unmatched, meaning)
    return [replace(ins, segments=fitting.get(ins.index, ())) for ins in instances], found
