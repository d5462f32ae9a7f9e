"""All figures of one SimulEval output folder, the files that hold them, and how they are shown.

``instances.log`` is right in every version of SimulEval, its ``scores.tsv`` is not (see
:mod:`echostream.scoring.printed`). So everything is computed again from the log and ``scores.tsv``
is replaced, with the columns and the rounding of SimulEval's main, unless the log is damaged or
contradicts itself. What stood there before is kept in ``scores.json``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from echostream.errors import DataError
from echostream.scoring.earlier import earlier_scores, notes_on_earlier, parse_table, same_figure
from echostream.scoring.intervals import with_intervals
from echostream.scoring.log import Log, read_log
from echostream.scoring.pieces import load_tokenizer
from echostream.scoring.printed import (
    AWARE,
    DISCONTINUITY_COLUMNS,
    SPEECH_COLUMNS,
    STREAMSPEECH,
    TEXT_COLUMNS,
    WRITERS,
)
from echostream.scoring.quality import DEFAULT_QUALITY
from echostream.scoring.scores import (
    DECIMALS,
    Difference,
    QualityOptions,
    Scores,
    by_tool_names,
    score_instances,
    score_speech,
)
from echostream.scoring.writer import UNKNOWN_WRITER, Writer, find_writer, printed_by
from echostream.text import read_lines
from echostream.whole_file import write_whole

TABLE_NAME = "scores.tsv"
DETAILS_NAME = "scores.json"
TRANSCRIPTS_NAME = "asr_transcripts.txt"
"""What SimulEval's ASR_BLEU metrics leave of speech output: a line per instance."""


@dataclass(frozen=True)
class ScoreOptions:
    """What a folder does not tell."""

    writer: str | None = None
    """One of :data:`echostream.scoring.printed.WRITERS`; None to find out."""
    spm_model: str | None = None
    """Path of the SentencePiece model of the predictions, for logs of pieces that were joined."""
    expected: int | None = None
    """Number of instances of the run."""
    is_strict: bool = False
    """Refuse a log with damaged lines."""
    quality: QualityOptions | None = None
    writes_files: bool = True
    num_resamples: int | None = None
    """Of the bootstrap that gives the figures intervals; None for no intervals."""


def read_run(folder: str | os.PathLike[str], options: ScoreOptions) -> Log:
    """The log of a folder, read as the options say; errors as :func:`read_log`."""
    return read_log(
        folder,
        joined_pieces=None if options.writer is None else options.writer == STREAMSPEECH,
        tokenize=None if options.spm_model is None else load_tokenizer(options.spm_model),
        expected=options.expected,
        is_strict=options.is_strict,
    )


def score_folder(
    folder: str | os.PathLike[str],
    segment_size: float | None = None,
    options: ScoreOptions | None = None,
) -> Scores:
    """Score ``instances.log`` of a folder and write ``scores.json`` and ``scores.tsv`` there.

    Doing it again changes neither file. ``scores.tsv`` is left alone where the scores have errors,
    and both files are if the options say so.
    segment_size: as :func:`echostream.scoring.scores.score_instances`.

    Raises DataError for what :func:`echostream.scoring.log.read_log` refuses, for wrong options,
    and if a file cannot be written; nothing is written before everything is computed.
    """
    options = options or ScoreOptions()
    if options.writer is not None and options.writer not in WRITERS:
        raise DataError(f"writer is {options.writer!r}; expected one of {', '.join(WRITERS)}")
    path = Path(folder)
    earlier = earlier_scores(path / TABLE_NAME, path / DETAILS_NAME)
    table = parse_table(earlier)
    quality = _with_wer(options.quality or QualityOptions(), table)
    log = read_run(path, options)
    if log.has_text:
        scores = score_instances(log.instances, segment_size, quality)
        if options.num_resamples is not None:
            scores = with_intervals(
                scores,
                log.instances,
                options.num_resamples,
                tokenizer=quality.tokenizer,
                is_normalised=quality.is_normalised,
            )
    else:
        transcripts = _transcripts(path / TRANSCRIPTS_NAME, len(log.speech))
        scores = score_speech(log.speech, segment_size, transcripts, quality)
    scores = replace(scores, problems=(*log.problems, *scores.problems), earlier=earlier)
    scores = _with_writer(scores, log, find_writer(path, log, table, options.writer), table)
    if not scores.has_errors:
        scores = replace(scores, written_table=scores.table())
    if not options.writes_files:
        return scores
    # The details go first: they hold what the table is about to lose.
    write_whole(
        path / DETAILS_NAME, json.dumps(scores.details(), indent=2, ensure_ascii=False) + "\n"
    )
    if scores.written_table is not None:
        write_whole(path / TABLE_NAME, scores.written_table)
    return scores


def format_scores(scores: Scores, title: str) -> str:
    """A table for the terminal: each figure with unit and signature, then what is to be known."""
    counts = scores.counts
    head = f"{title}: {counts['instances']} instances, {counts['latency_instances']} with latency"
    if "latency_instances_ca" in counts:
        head += f", {counts['latency_instances_ca']} with computation-aware latency"
    lines = [head]
    for figure in scores.figures:
        interval = ""
        if figure.low is not None and figure.high is not None:
            interval = f"[{figure.low:.{DECIMALS}f}, {figure.high:.{DECIMALS}f}] "
        lines.append(
            f"  {figure.name:<16}{show(figure.value):>12} {figure.unit:<3}{interval}"
            f"{figure.signature}"
        )
    if scores.differences:
        lines.append(
            f"  what {scores.writer} prints for this log, and what the log says (- where that is "
            "nothing comparable):"
        )
        lines += [
            f"    {row.column:<20}{show(row.printed):>16}{show(row.value):>12}"
            for row in scores.differences
        ]
    lines += [f"  note: {note}" for note in scores.notes]
    lines += [
        f"  {'PROBLEM' if problem.is_error else 'problem'}: {problem}"
        for problem in scores.problems
    ]
    return "\n".join(lines)


def show(value: float | str | None) -> str:
    """A value with three decimals; ``-`` if there is none."""
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.{DECIMALS}f}"


def _with_wer(options: QualityOptions, table: dict[str, float] | None) -> QualityOptions:
    """The options with WER, if they leave the choice open and the run was scored by it."""
    if options.names is None and "WER" in (table or {}):
        return replace(options, names=(*DEFAULT_QUALITY, "wer"))
    return options


def _with_writer(
    scores: Scores, log: Log, writer: Writer, table: dict[str, float] | None
) -> Scores:
    """The scores with what is to be said about the tool that wrote the log."""
    values = by_tool_names(scores.values)
    notes = [f"the log was written by {writer.name}: {writer.reason}"]
    printed: dict[str, float | str] = {}
    if writer.name != UNKNOWN_WRITER:
        printed = printed_by(log, writer.name, writer.is_computation_aware is not False)
    if scores.earlier is not None:
        notes += notes_on_earlier(scores.earlier, values, printed, writer.name)
        if scores.has_errors:
            notes.append(f"{TABLE_NAME} was left as it was, because of what is wrong with the log")
    differences = [
        Difference(name, printed[name], values.get(name))
        for name in _columns(log, table, writer)
        if name in printed and not same_figure(values.get(name), printed[name])
    ]
    return replace(scores, notes=tuple(notes), writer=writer.name, differences=tuple(differences))


def _columns(log: Log, table: dict[str, float] | None, writer: Writer) -> Sequence[str]:
    """What the tool printed, or else what it prints by default."""
    if table is not None:
        return list(table)
    names = TEXT_COLUMNS if log.has_text else ("BLEU", *SPEECH_COLUMNS, *DISCONTINUITY_COLUMNS)
    aware = [name + AWARE for name in names] if writer.is_computation_aware is not False else []
    return [*names, *aware]


def _transcripts(path: Path, instances: int) -> list[str] | None:
    try:
        lines = read_lines(path)
    except DataError:
        return None
    return lines if len(lines) == instances else None
