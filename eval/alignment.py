"""Figures of words that were aligned with sentences beside those of words whose sentence is known.

    echostream data es-en
    python -m eval.alignment --corpora asterisk

Recordings are heard end to end with --gap-s of silence after each. A word belongs to the recording
that its encoder frame is in, by CTC or by attention; that is the truth. ``echostream score
--segments`` has only the words, when they were written, and the sentences.
"""

import argparse
import math
import sys
from bisect import bisect_right
from itertools import accumulate

import numpy as np

from echostream.commands import positive
from echostream.scoring.instance import Instance
from echostream.scoring.long_form import METRICS, mean_latency, resegmented, with_words
from echostream.scoring.readings import Reading
from echostream.scoring.sentences import Sentence
from echostream.session import build_translator
from echostream.text import normalise
from eval.command import aligned, ended, parser_of
from eval.pauses import encoded, waits
from eval.recordings import add_corpus_part, read_corpus_part
from eval.sweep.system import SYSTEM_ARGUMENT


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = parser_of("alignment", __doc__)
    add = parser.add_argument
    add_corpus_part(parser)
    add("--recordings", type=positive, metavar="N", help="the longest ones (all)")
    add("--gap-s", type=float, default=1.0, help="silence, s (%(default)s)")
    add("--system", default="", **SYSTEM_ARGUMENT, help="(the small one shipped)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Print a table."""
    args = build_parser().parse_args(argv)
    return ended("alignment", lambda: print(compared(args)))


def compared(args: argparse.Namespace) -> str:
    """A line for each figure."""
    rows = read_corpus_part(args.data, args.split, args.corpora)
    longest = sorted(rows, key=lambda row: -row.seconds)[: args.recordings]
    rows = [row for row in rows if row in longest]
    translator = build_translator(args.system.options)
    written, _ = waits(translator, list(encoded(translator, rows, args.data, args.gap_s)))

    lengths = [1000 * row.seconds for row in rows]
    begins = list(accumulate((length + 1000 * args.gap_s for length in lengths), initial=0.0))
    sentences = [
        Sentence("recording", begin, length, normalise(row.tgt_text))
        for row, begin, length in zip(rows, begins, lengths, strict=False)
    ]
    text, delays = " ".join(word.text for word, _ in written), [float(at) for _, at in written]
    recording = Instance(0, text, "", tuple(delays), (), begins[-1], "recording")
    frame_ms = translator.listener.model.encoder.frame_ms
    said = [word.frame * frame_ms for word, _ in written]
    # Attention may look back, sentences are in order.
    owner = np.maximum.accumulate([bisect_right(begins, at) - 1 for at in said])
    truth = with_words(recording, sentences, owner.tolist())
    lines = []
    for name, rule, formula in METRICS:
        aligned_ones = resegmented([recording], sentences, rule)
        known, found = (
            mean_latency(each, formula, Reading.IDEAL)[0] or math.nan
            for each in (truth, aligned_ones)
        )
        lines.append([name, f"{known:.0f}", f"{found:.0f}", f"{100 * (found / known - 1):+.1f}"])
    return (
        f"{len(rows)} recordings, {begins[-1] / 1000:.0f} s, {len(written)} words; ms\n"
        + aligned(("figure", "truth", "aligned", "%"), lines)
    )


if __name__ == "__main__":
    sys.exit(main())
