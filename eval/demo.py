"""The demo: SimulEval translates recorded Spanish speech with the shipped checkpoints.

    python -m eval.demo

Fetches the Asterisk recordings (about 13 MB) with apt-get, runs the agent on the 48 recordings of
the test part, prints hypotheses beside references and the scores. Where the recordings cannot be
had it takes the few synthetic clips in ``eval/clips`` instead and says so.

Then the streaming Whisper translates a speaker that no checkpoint was trained on. It stands on
Whisper base, which is fetched once (145 MB); where that cannot be had the demo ends without it.
"""

import argparse
import logging
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

import sacrebleu

from echostream.commands import data as recipes
from echostream.errors import EchoStreamError
from echostream.scoring.folder import ScoreOptions, format_scores, score_folder
from echostream.scoring.instance import Instance
from echostream.scoring.lines import LOG_NAME
from echostream.scoring.log import read_instances
from echostream.scoring.quality import QualityOptions
from echostream.text import normalise, read_lines
from eval.command import ROOT, parser_of

CLIPS = ROOT / "eval" / "clips"
WHISPER = "whisper-base-streaming"
WHISPER_OPTIONS = ("--checkpoint", WHISPER, "--source-language", "es")
WHISPER_SEGMENT = 640


def build_parser() -> argparse.ArgumentParser:
    """The demo's options."""
    parser = parser_of("demo", __doc__)
    add = parser.add_argument
    add("--data", type=Path, default=ROOT / "data" / "demo", help="recordings (%(default)s)")
    add("--output", type=Path, default=ROOT / "runs" / "demo", help="results (%(default)s)")
    add("--segment-size", type=int, default=320, help="ms pushed at a time (%(default)s)")
    add("--clips", action="store_true", help="use the synthetic clips, fetch nothing")
    add("--no-whisper", action="store_true", help="leave the streaming Whisper out")
    add("agent_options", nargs="*", help="options for the agent, after --, such as -- --verbose")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the demo; 0 when it went through."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    sources, references = CLIPS / "wav_list", CLIPS / "target"
    if not args.clips:
        found = recordings("es-en", "asterisk", args.data)
        args.clips = found is None
        sources, references = found or (sources, references)
    if args.clips:
        print("Using the six synthetic clips in eval/clips, made from sentences of our own.")
    if not translate(sources, references, args.output, args.segment_size, args.agent_options):
        return 1
    if args.clips or args.no_whisper or args.agent_options:
        return 0
    stranger = recordings("es-en-stranger", "asterisk-co", args.data.with_name("demo-stranger"))
    if stranger is None or not whisper_is_there():
        print("The demo ends without the streaming Whisper.")
        return 0
    print("\nA speaker that no checkpoint was trained on, first by the streaming Whisper:")
    output = args.output / "stranger"
    if not translate(*stranger, output / "whisper", WHISPER_SEGMENT, WHISPER_OPTIONS):
        return 1
    print("\nThe same speaker by the checkpoint above, which has heard few voices:")
    return 0 if translate(*stranger, output / "zipformer", args.segment_size) else 1


def recordings(recipe: str, corpus: str, folder: Path) -> tuple[Path, Path] | None:
    """Lists of the recordings and references of a corpus's test part; ``None`` without them."""
    wanted = [recipe, "--corpora", corpus, "--splits", "test", "--output", str(folder)]
    if recipes.main(wanted) != 0:
        print(f"The recordings of {corpus} cannot be had.")
        return None
    folder = folder / "lists"
    return folder / f"{corpus}.test.wav_list", folder / f"{corpus}.test.target"


def whisper_is_there() -> bool:
    """Whether the streaming Whisper can be used; its base is fetched if need be."""
    from echostream.model.fetching import fetch

    try:
        fetch("whisper-base", report=print)
    except EchoStreamError as error:
        print(f"Whisper base cannot be had: {error}")
        return False
    return True


def translate(
    sources: Path, references: Path, output: Path, segment_ms: int, options: Sequence[str] = ()
) -> bool:
    """Run SimulEval on a list, print what was said and the scores; whether it went through."""
    output.mkdir(parents=True, exist_ok=True)
    for name in (LOG_NAME, "scores.tsv", "scores.json", "metrics.tsv"):
        (output / name).unlink(missing_ok=True)
    wav_list, targets = lists(sources, references, output)
    given = {
        "--agent": ROOT / "agents" / "echostream_agent.py",
        "--source": wav_list,
        "--target": targets,
        "--source-segment-size": segment_ms,
        "--output": output,
    }
    command = [str(Path(sys.executable).with_name("simuleval")), "--computation-aware"]
    command += [str(word) for pair in given.items() for word in pair]
    command += options
    print("$", " ".join(command), flush=True)
    # SimulEval 1.1.4 prints computation-aware values in the plain columns; ours follow below.
    result = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
    if result.returncode != 0:
        print(f"SimulEval ended with status {result.returncode}", file=sys.stderr)
        return False
    score_options = ScoreOptions(quality=QualityOptions(is_normalised=True))
    scores = score_folder(output, segment_ms, score_options)
    instances = read_instances(output / LOG_NAME)
    texts = references.read_text("utf-8").splitlines()
    published = sacrebleu.corpus_bleu(
        [ins.prediction for ins in instances], [[texts[ins.index] for ins in instances]]
    ).score
    print(listing(instances))
    print(format_scores(scores, str(output)))
    print(
        "Hypotheses and references are compared in lower case and without punctuation, as with "
        "`echostream score --normalise`.\n"
        f"With the references as they were published: BLEU {published:.2f}\n"
        f"Logs and scores: {output}/instances.log, scores.tsv, scores.json"
    )
    return True


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
