"""How many streams a core carries: EchoStream beside programs of simulstream and SimulStreaming.

    python -m eval.rivals --data data/es-en --output runs/rivals

Every program of ``programs.yaml`` is run as it is, on one thread, in turn, and as often as
``--rounds`` says: once on the recordings and once on the first segment of each. The difference is
what hearing costs; starting up and ending is in both::

    compute = (CPU seconds, whole - CPU seconds, first segments) / (seconds, whole - first segments)
    streams of a core = 0.7 / compute

since a core that is busy for 70 % leaves room for waiting in line (docs/scale.md); rounded down, to
tenths where it is less than one. Recordings are put end to end until each lasts half a minute, as
streams do. BLEU of the translations, without case and punctuation, is there to see that a program
did its work; so few recordings compare nothing.
"""

import argparse
import logging
import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from echostream.audio import read_audio
from echostream.commands import positive
from echostream.constants import SAMPLE_RATE
from echostream.errors import DataError
from echostream.scoring.quality import QualityOptions, score_quality
from echostream.scoring.tables import markdown_table
from eval.command import ended, heading, parser_of, progress, write_results
from eval.recordings import add_corpus_part, join_recordings, read_corpus_part
from eval.rivals.programs import Program, Programs, read_programs, run

logger = logging.getLogger(__name__)

BUSY = 0.7
"""How much of a core may be busy."""

HEADER = ("program", "segment (s)", "compute for a second of audio (s)", "least", "most",
    "streams of a core", "BLEU")  # fmt: skip


@dataclass
class Measured:
    """What was seen of a program."""

    compute: list[float] = field(default_factory=list)
    """CPU seconds for a second of audio, one of each round."""
    texts: list[str] = field(default_factory=list)
    """Of the last round."""


def compute_of(whole_s: float, heads_s: float, audio_s: float, heads_audio_s: float) -> float:
    """CPU seconds for a second of audio, from runs on whole recordings and on their beginnings.

    Raises:
        DataError: if the whole costs no more than the beginnings.
    """
    if whole_s <= heads_s:
        raise DataError(
            f"whole recordings took {whole_s:.2f} s and their first segments {heads_s:.2f} s; "
            "expected more for more audio: give longer recordings (--join)"
        )
    return (whole_s - heads_s) / (audio_s - heads_audio_s)


def streams_of(compute: float) -> float:
    """That a core carries; whole numbers from one up, else tenths, rounded down."""
    streams = BUSY / compute
    return math.floor(streams) if streams >= 1 else math.floor(10 * streams) / 10


def spread(count: int, wanted: int) -> list[int]:
    """So many places of a list, evenly spread over it; all of them if it is not longer."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, wanted))})


def write_wav(path: Path, samples: NDArray[np.float32]) -> Path:
    """As the programs read it: 16-bit, one channel, 16 kHz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return path


def recordings_of(args: argparse.Namespace) -> tuple[dict[str, NDArray[np.float32]], list[str]]:
    """Samples ``[n]`` by name, and the references."""
    rows = read_corpus_part(args.data, args.split, args.corpora)
    folder = args.output / "joined"
    joined = join_recordings(rows, args.data, args.join, folder)
    chosen = [joined[place] for place in spread(len(joined), args.recordings)]
    return {r.id: read_audio(folder / r.audio)[0] for r in chosen}, [r.tgt_text for r in chosen]


def measure(
    plan: Programs, audio: dict[str, NDArray[np.float32]], rounds: int, output: Path
) -> dict[str, Measured]:
    """All programs in turn, so many rounds; by name."""
    wholes = [write_wav(output / "whole" / f"{n}.wav", samples) for n, samples in audio.items()]
    found = {program.name: Measured() for program in plan.programs}

    def measure_one(program: Program) -> None:
        size = round(program.segment_s * SAMPLE_RATE)
        if size >= min(map(len, audio.values())):
            raise DataError(
                f"{program.name} has segments of {program.segment_s:g} s and a recording is not "
                "longer; expected several segments: give longer recordings (--join)"
            )
        folder = output / "".join(c if c.isalnum() else "-" for c in program.name)
        heads = [
            write_wav(folder / "heads" / f"{name}.wav", samples[:size])
            for name, samples in audio.items()
        ]
        heads_s, _ = run(program, plan.python, heads, folder / "of-heads")
        whole_s, texts = run(program, plan.python, wholes, folder)
        seconds = [n / SAMPLE_RATE for n in (sum(map(len, audio.values())), size * len(heads))]
        compute = compute_of(whole_s, heads_s, *seconds)
        logger.info("%s: %.3f s for a second of audio", program.name, compute)
        found[program.name].compute.append(compute)
        found[program.name].texts = texts

    turns = [program for _ in range(rounds) for program in plan.programs]
    for program in progress(turns, len(turns), "programs"):
        measure_one(program)
    return found


def table(plan: Programs, found: dict[str, Measured], references: Sequence[str]) -> str:
    """In Markdown."""
    options = QualityOptions(("bleu",), is_normalised=True)
    rows = []
    for program in plan.programs:
        seen = found[program.name]
        compute = statistics.median(seen.compute)
        bleu = score_quality(seen.texts, references, options)[0].value or 0.0
        figures = (compute, min(seen.compute), max(seen.compute))
        rows.append(
            [program.name, f"{program.segment_s:g}", *(f"{figure:.3f}" for figure in figures),
             f"{streams_of(compute):g}", f"{bleu:.1f}"]
        )  # fmt: skip
    return markdown_table(HEADER, rows)


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = parser_of("rivals", __doc__)
    add = parser.add_argument
    add("--programs", type=Path, default=Path(__file__).with_name("programs.yaml"), metavar="FILE",
        help="what is measured (%(default)s)")  # fmt: skip
    add_corpus_part(parser)
    add("--recordings", type=positive, default=4, help="evenly spread over all (%(default)s)")
    add("--join", type=float, default=30.0, metavar="SECONDS", help="length of each (%(default)s)")
    add("--rounds", type=positive, default=2, help="(%(default)s)")
    add("--output", type=Path, default=Path("runs/rivals"), help="(%(default)s)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    def work() -> None:
        plan = read_programs(args.programs)
        audio, references = recordings_of(args)
        found = measure(plan, audio, args.rounds, args.output)
        details = {name: vars(seen) for name, seen in found.items()}
        results = {**heading("rivals", argv), "references": references, "programs": details}
        write_results(args.output / "rivals.json", results)
        print(table(plan, found, references))

    return ended("rivals", work)


if __name__ == "__main__":
    sys.exit(main())
