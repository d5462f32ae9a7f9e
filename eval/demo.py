"""The demo: SimulEval translates recorded Spanish speech with the shipped checkpoint.

    python -m eval.demo

Fetches the Asterisk recordings (about 13 MB) with apt-get, runs the agent on the 48 recordings of
the test part, prints hypotheses beside references and the scores. Where the recordings cannot be
had it takes the few synthetic clips in ``eval/clips`` instead and says so.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

import sacrebleu

from echostream.commands import data as recipes
from echostream.scoring.folder import format_scores, score_folder
from echostream.scoring.instance import Instance
from echostream.scoring.lines import LOG_NAME
from echostream.scoring.log import read_instances
from echostream.text import normalise, read_lines
from eval.command import ROOT, parser_of

CLIPS = ROOT / "eval" / "clips"


def build_parser() -> argparse.ArgumentParser:
    """The demo's options."""
    parser = parser_of("demo", __doc__)
    add = parser.add_argument
    add("--data", type=Path, default=ROOT / "data" / "demo", help="recordings (%(default)s)")
    add("--output", type=Path, default=ROOT / "runs" / "demo", help="results (%(default)s)")
    add("--segment-size", type=int, default=320, help="ms pushed at a time (%(default)s)")
    add("--clips", action="store_true", help="use the synthetic clips, fetch nothing")
    add("agent_options", nargs="*", help="options for the agent, after --, such as -- --verbose")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the demo; 0 when it went through."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    args.output.mkdir(parents=True, exist_ok=True)
    for name in (LOG_NAME, "scores.tsv", "scores.json", "metrics.tsv"):
        (args.output / name).unlink(missing_ok=True)
    sources, references = CLIPS / "wav_list", CLIPS / "target"
    if not args.clips:
        wanted = ("es-en", "--corpora", "asterisk", "--splits", "test", "--output", str(args.data))
        if recipes.main(list(wanted)) == 0:
            sources = args.data / "lists" / "asterisk.test.wav_list"
            references = args.data / "lists" / "asterisk.test.target"
        else:
            print("The recordings cannot be had.")
            args.clips = True
    if args.clips:
        print("Using the six synthetic clips in eval/clips, made from sentences of our own.")
    wav_list, targets = lists(sources, references, args.output)
    options = {
        "--agent": ROOT / "agents" / "echostream_agent.py",
        "--source": wav_list,
        "--target": targets,
        "--source-segment-size": args.segment_size,
        "--output": args.output,
    }
    command = [str(Path(sys.executable).with_name("simuleval")), "--computation-aware"]
    command += [str(word) for pair in options.items() for word in pair]
    command += args.agent_options
    print("$", " ".join(command), flush=True)
    # SimulEval 1.1.4 prints computation-aware values in the plain columns; ours follow below.
    result = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
    if result.returncode != 0:
        print(f"SimulEval ended with status {result.returncode}", file=sys.stderr)
        return 1
    scores = score_folder(args.output, segment_size=args.segment_size)
    instances = read_instances(args.output / LOG_NAME)
    texts = references.read_text("utf-8").splitlines()
    published = sacrebleu.corpus_bleu(
        [ins.prediction for ins in instances], [[texts[ins.index] for ins in instances]]
    ).score
    print(listing(instances))
    print(format_scores(scores, str(args.output)))
    print(
        "References are in lower case and without punctuation here, as the model writes text; "
        "`echostream score --normalise` does the same.\n"
        f"With the references as they were published: BLEU {published:.2f}\n"
        f"Logs and scores: {args.output}/instances.log, scores.tsv, scores.json"
    )
    return 0


def lists(sources: Path, references: Path, output: Path) -> tuple[Path, Path]:
    """Copies for SimulEval: absolute paths, and references as the model writes text."""
    wav_list, targets = output / "wav_list.txt", output / "references.txt"
    paths = [str((ROOT / line).resolve()) for line in read_lines(sources)]
    texts = [normalise(line) for line in read_lines(references)]
    wav_list.write_text("\n".join(paths) + "\n", "utf-8")
    targets.write_text("\n".join(texts) + "\n", "utf-8")
    return wav_list, targets


def listing(instances: Iterable[Instance]) -> str:
    """Hypotheses beside their references, and when the first and the last word were written."""
    lines = []
    for ins in instances:
        when = "no word"
        if ins.delays:
            when = f"first word at {ins.delays[0]:.0f} ms, last at {ins.delays[-1]:.0f} ms"
        lines.append(f"[{ins.index}] {ins.source_file}")
        for label, text in (
            ("reference", ins.reference),
            ("hypothesis", ins.prediction),
            ("written", f"{when}, source {ins.source_length:.0f} ms"),
        ):
            # An empty text keeps its line: that nothing was said is what the reader looks for.
            said = text if text.strip() else "(empty)"
            lines += textwrap.wrap(
                said, 100, initial_indent=f"  {label:<12}", subsequent_indent=" " * 14
            )
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
