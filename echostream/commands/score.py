"""``echostream score DIR...``: score SimulEval output folders again from their logs."""

import argparse
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path

from echostream.commands import command, positive
from echostream.errors import EchoStreamError
from echostream.scoring.folder import ScoreOptions, format_scores, score_folder
from echostream.scoring.intervals import TESTED, paired_tests
from echostream.scoring.quality import DEFAULT_TOKENIZER, QUALITY_NAMES, QualityOptions
from echostream.scoring.scores import Scores
from echostream.scoring.significance import NUM_RESAMPLES
from echostream.scoring.tables import format_comparison, format_paired_tests
from echostream.text import read_lines


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="echostream score",
        description="Compute quality (BLEU, chrF, WER, CER) and latency (LAAL, AL, AP, DAL, ATD, "
        "YAAL, offsets, compute RTF; ideal, computation-aware as SimulEval has it, and in real "
        "time) from the instances.log of SimulEval runs, or from simulstream's metrics.jsonl; "
        "of long recordings StreamLAAL and LongYAAL, sentence by sentence (--segments). Each "
        "figure is printed with its signature. scores.tsv in the folder is replaced, what stood in "
        "it is kept in scores.json. docs/metrics.md says what each figure is.",
        epilog="Exit status: 0; 1 if a folder cannot be scored, or its log is damaged or "
        "contradicts itself; 2 for wrong usage.",
    )
    add = parser.add_argument
    add(
        "folders",
        nargs="+",
        metavar="DIR",
        help="what SimulEval was given as --output, or a log itself (a pipe too, for which nothing "
        "is written)",
    )
    add("--json", action="store_true", help="print a line of JSON per folder instead of tables")
    add(
        "--segment-size",
        type=_milliseconds,
        metavar="MS",
        help="the runs' --source-segment-size, for the signatures (default: an upper bound that "
        "follows from the delays)",
    )
    add(
        "--quality",
        type=_quality_names,
        metavar="NAMES",
        help=f"of {', '.join(QUALITY_NAMES)}, separated by commas (default: bleu,chrf; with wer "
        "and cer if the run was scored by WER)",
    )
    add("--tokenizer", default=DEFAULT_TOKENIZER, help="sacreBLEU's, for BLEU (%(default)s)")
    add("--normalise", action="store_true",
        help="score quality without case and punctuation (default: texts as they are)")  # fmt: skip
    add("--ignore-accents", action="store_true",
        help="score quality without accents and tildes, for references that have none")  # fmt: skip
    add(
        "--spm-model",
        metavar="FILE",
        help="SentencePiece model of the predictions, for logs with a delay per piece that do not "
        "hold the pieces",
    )
    add("--references", metavar="FILE",
        help="for simulstream's logs, which hold none: a line for each recording, in their "
        "order; with --segments a line for each segment")  # fmt: skip
    add("--segments", metavar="FILE",
        help="sentences of long recordings, YAML or JSON with wav, offset and duration (s) of "
        "each: words are given to sentences, for StreamLAAL and LongYAAL")  # fmt: skip
    add("--language", metavar="CODE",
        help="with --segments: align tokens of Moses, as OmniSTEval's --lang; needs mosestokenizer "
        "(default: whole words)")  # fmt: skip
    length = parser.add_mutually_exclusive_group().add_argument
    length("--source", metavar="FILE", help="the runs' list of sources, to find missing lines")
    length("--num-instances", type=positive, metavar="N", help="how many instances the runs have")
    add(
        "--intervals",
        type=positive,
        nargs="?",
        const=NUM_RESAMPLES,
        metavar="N",
        help="95 %% intervals by a bootstrap over utterances, of N resamples (%(const)s); with "
        "several folders also each one tested against the first (text output)",
    )
    add("--print-only", action="store_true", help="write neither scores.tsv nor scores.json")
    add("--strict", action="store_true", help="refuse logs with damaged lines")
    return parser


@command("score", build_parser)
def main(arguments: argparse.Namespace) -> int:
    """Score each folder, print its figures, and write scores.tsv and scores.json into it.

    A folder that cannot be scored costs one line on standard error; the others are still scored.
    Returns 0, 1 if a folder could not be scored or its log is damaged or contradicts itself, 2 for
    wrong usage.
    """
    runs: dict[str, Scores] = {}
    options = _options(arguments)
    status = 0
    for folder in arguments.folders:
        try:
            runs[folder] = score_folder(folder, arguments.segment_size, options)
        except EchoStreamError as error:
            status = _failed(error)
            continue
        if arguments.json:
            print(json.dumps({"folder": folder, **runs[folder].details()}, ensure_ascii=False))
        else:
            print(format_scores(runs[folder], folder))
    if len(runs) > 1 and not arguments.json:
        print("\n" + format_comparison(runs))
        if arguments.intervals is not None:
            try:
                print("\n" + _tests(runs, options))
            except EchoStreamError as error:
                status = _failed(f"no tests between runs: {error}")
    return int(status or any(scores.has_errors for scores in runs.values()))


def _failed(error: object) -> int:
    print(f"echostream score: error: {error}", file=sys.stderr)
    return 1


def _tests(runs: Mapping[str, Scores], options: ScoreOptions) -> str:
    """The runs against the first in the figures that all of them have."""
    names = [name for name in TESTED if all(name in scores.values for scores in runs.values())]
    logs = {folder: scores.instances for folder, scores in runs.items()}
    tests = paired_tests(
        logs, options.num_resamples or NUM_RESAMPLES, names=names, quality=options.quality
    )
    return format_paired_tests(tests, next(iter(runs)))


def _options(arguments: argparse.Namespace) -> ScoreOptions:
    expected = arguments.num_instances
    if arguments.source is not None:
        expected = len(read_lines(Path(arguments.source), "list of SimulEval's --source"))
    return ScoreOptions(
        spm_model=arguments.spm_model,
        references=arguments.references,
        segments=arguments.segments,
        language=arguments.language,
        expected=expected,
        is_strict=arguments.strict,
        quality=QualityOptions(
            arguments.quality, arguments.tokenizer, arguments.normalise, arguments.ignore_accents
        ),
        writes_files=not arguments.print_only,
        num_resamples=arguments.intervals,
    )


def _milliseconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:  # false for NaN
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of milliseconds above 0")
    return value


def _quality_names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip().lower() for name in text.split(",")))
    for name in names:
        if name not in QUALITY_NAMES:
            raise argparse.ArgumentTypeError(
                f"{name!r} is not one of {', '.join(QUALITY_NAMES)}, separated by commas"
            )
    return names
