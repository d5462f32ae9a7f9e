"""All figures of one SimulEval output folder, the files that hold them, and how they are shown.

``instances.log`` is right in every version of SimulEval, its ``scores.tsv`` is not, so it is
replaced unless the log is damaged; what stood there before is kept in ``scores.json``.
"""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

from echostream.errors import DataError
from echostream.scoring.earlier import earlier_scores, notes_on_earlier, parse_table
from echostream.scoring.intervals import with_intervals
from echostream.scoring.lines import LOG_NAME
from echostream.scoring.log import Log, find_log, read_log
from echostream.scoring.long_form import score_long
from echostream.scoring.quality import DEFAULT_QUALITY, QualityOptions
from echostream.scoring.resegmentation import moses
from echostream.scoring.scores import (
    DECIMALS,
    Scores,
    by_tool_names,
    score_instances,
    score_speech,
)
from echostream.scoring.sentences import read_sentences
from echostream.scoring.units import load_tokenizer
from echostream.text import read_lines
from echostream.whole_file import write_whole

TABLE_NAME = "scores.tsv"
DETAILS_NAME = "scores.json"
TRANSCRIPTS_NAME = "asr_transcripts.txt"
"""What SimulEval's ASR_BLEU metrics leave of speech output: a line per instance."""


@dataclass(frozen=True)
class ScoreOptions:
    """What a folder does not tell."""

    spm_model: str | None = None
    """Path of the SentencePiece model of the predictions, for logs of pieces that were joined."""
    references: str | None = None
    """Path of a list, a line for each recording of a log of simulstream, which holds none; with
    ``segments`` a line for each sentence of any log."""
    segments: str | None = None
    """Path of the list of sentences of long recordings, see :mod:`echostream.scoring.long_form`."""
    language: str | None = None
    """Whose tokens are aligned with sentences; None for whole words."""
    expected: int | None = None
    """Number of instances of the run."""
    is_strict: bool = False
    """Refuse a log with damaged lines."""
    quality: QualityOptions | None = None
    writes_files: bool = True
    num_resamples: int | None = None
    """Of the bootstrap that gives the figures intervals; None for no intervals."""


def score_folder(
    folder: str | os.PathLike[str],
    segment_size: float | None = None,
    options: ScoreOptions | None = None,
) -> Scores:
    """Score the log of a folder and write ``scores.json`` and ``scores.tsv`` there.

    Doing it again changes neither file. ``scores.tsv`` is left alone where the scores have errors,
    for a log of simulstream and for long recordings, and both files are if the options say so.

    folder: or the log itself, or a pipe; beside a file of another name than SimulEval's nothing is
        written. segment_size: as :func:`echostream.scoring.scores.score_instances`.

    Raises DataError for what :func:`echostream.scoring.log.read_log` refuses, for wrong options,
    and if a file cannot be written; nothing is written before everything is computed.
    """
    options = options or ScoreOptions()
    log_path = find_log(folder)
    is_simuleval = log_path.name == LOG_NAME
    path = log_path.parent
    earlier = earlier_scores(path / TABLE_NAME, path / DETAILS_NAME) if is_simuleval else None
    quality = _with_error_rates(options.quality or QualityOptions(), parse_table(earlier))
    log = read_log(
        log_path,
        tokenize=None if options.spm_model is None else load_tokenizer(options.spm_model),
        expected=options.expected,
        is_strict=options.is_strict,
        references=None if options.segments else options.references,
    )
    if options.segments is not None:
        scores = _score_sentences(log, segment_size, quality, options)
    elif log.has_text:
        scores = score_instances(
            log.instances, segment_size, quality, has_references=log.has_references
        )
        if options.num_resamples is not None:
            scores = with_intervals(scores, log.instances, options.num_resamples, quality=quality)
    else:
        transcripts = _transcripts(path / TRANSCRIPTS_NAME, len(log.speech))
        scores = score_speech(log.speech, segment_size, transcripts, quality)
    kept = [
        each for each in log.problems if not (options.segments and each.kind == "no-references")
    ]
    scores = replace(scores, problems=(*kept, *scores.problems), earlier=earlier)
    if earlier is not None:
        notes = notes_on_earlier(earlier, by_tool_names(scores.values))
        if scores.has_errors:
            notes.append(f"{TABLE_NAME} was left as it was, because of what is wrong with the log")
        scores = replace(scores, notes=tuple(notes))
    if is_simuleval and not scores.has_errors and options.segments is None:
        scores = replace(scores, written_table=scores.table())
    if not options.writes_files or not (is_simuleval or Path(folder).is_dir()):
        return scores
    # The details go first: they hold what the table is about to lose.
    details = json.dumps(scores.details(), indent=2, ensure_ascii=False)
    write_whole(path / DETAILS_NAME, details + "\n")
    if scores.written_table is not None:
        write_whole(path / TABLE_NAME, scores.written_table)
    return scores


def format_scores(scores: Scores, title: str) -> str:
    """A table for the terminal: each figure with unit and signature, then what is to be known."""
    counts = scores.counts
    head = f"{title}: {counts['instances']} instances, {counts['latency_instances']} with latency"
    if "recordings" in counts:
        head += f", of {counts['recordings']} recordings"
    if "latency_instances_ca" in counts:
        head += f", {counts['latency_instances_ca']} with computation-aware latency"
    lines = [head]
    for figure in scores.figures:
        ends = "" if figure.low is None else f"[{show(figure.low)}, {show(figure.high)}] "
        value = f"{show(figure.value):>12} {figure.unit:<3}"
        lines.append(f"  {figure.name:<16}{value}{ends}{figure.signature}")
    lines += [f"  note: {note}" for note in scores.notes]
    for problem in scores.problems:
        lines.append(f"  {'PROBLEM' if problem.is_error else 'problem'}: {problem}")
    return "\n".join(lines)


def show(value: float | None) -> str:
    """A value with three decimals; ``-`` if there is none."""
    return "-" if value is None else f"{value:.{DECIMALS}f}"


def _score_sentences(
    log: Log, segment_size: float | None, quality: QualityOptions, options: ScoreOptions
) -> Scores:
    if not log.has_text or options.references is None or options.num_resamples is not None:
        raise DataError(
            "long recordings are scored from a log with text output, with --segments and "
            "--references, a line for each segment, and without --intervals"
        )
    return score_long(
        log.instances,
        read_sentences(Path(options.segments or ""), Path(options.references)),
        quality,
        tokenize=None if options.language is None else moses(options.language),
        segment_size=segment_size,
    )


def _with_error_rates(options: QualityOptions, table: dict[str, float] | None) -> QualityOptions:
    """The options with WER and CER, if they leave the choice open and the run was scored by WER."""
    if options.names is None and "WER" in (table or {}):
        return replace(options, names=(*DEFAULT_QUALITY, "wer", "cer"))
    return options


def _transcripts(path: Path, instances: int) -> list[str] | None:
    lines = read_lines(path, "list of transcripts") if path.exists() else []
    return lines if len(lines) == instances else None
