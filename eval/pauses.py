"""What completing words at pauses gives and costs, on recordings with silence between them.

    echostream data es-en
    python -m eval.pauses

For each ``--pause-ms``: how long after its last token a word is written, and how many of the words
that a pause completed were split, because what came after the pause belonged to them. The audio is
encoded once; a token's time is that of its encoder frame.
"""

import argparse
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from echostream.audio import read_audio
from echostream.constants import SAMPLE_RATE
from echostream.decoder.generator import EncodedChunk
from echostream.decoder.words import Word
from echostream.errors import ConfigError
from echostream.session import SystemOptions, Translator, build_translator
from echostream.session.build import build_searches
from echostream.training.corpus.manifest import ManifestRow
from eval.command import aligned, ended, parser_of, progress
from eval.recordings import HISS, add_corpus_part, read_corpus_part

_SEGMENT = 320 * SAMPLE_RATE // 1000


def encoded(
    translator: Translator, rows: Sequence[ManifestRow], data: Path, gap_s: float
) -> Iterator[EncodedChunk]:
    """The recordings as one stream, with ``gap_s`` of silence after each."""
    chance = np.random.default_rng(0)
    state = translator.listener.init_state()
    for row in progress(rows, len(rows), "encoding"):
        gap = chance.normal(0.0, HISS, int(gap_s * SAMPLE_RATE)).astype(np.float32)
        samples = np.concatenate((read_audio(data / row.audio)[0], gap))
        for start in range(0, len(samples), _SEGMENT):
            segment = samples[start : start + _SEGMENT]
            step, state = translator.listener.step(segment, SAMPLE_RATE, state, is_final=False)
            yield from step.chunks


def token_times(
    options: SystemOptions, translator: Translator, chunks: Sequence[EncodedChunk]
) -> list[int]:
    """When each token of the translation had been spoken, ms."""
    model = translator.listener.model
    search = build_searches(options, model)["st"]
    state, times = search.init_state(), []
    for chunk in chunks:
        output, state = search.step(chunk.log_probs["st"], state)
        times += [(token.frame + 1) * model.encoder.frame_ms for token in output.stable]
    return times


def waits(
    translator: Translator, chunks: Sequence[EncodedChunk]
) -> tuple[list[tuple[Word, int]], dict[str, int]]:
    """Each word and when it was written, ms; the counters."""
    writer = translator.writer
    generator, committed = writer.generator, list[Word]()

    def noted(count: int, state: Any) -> tuple[tuple[Word, ...], Any]:
        words, state = type(generator).commit(generator, count, state)
        committed.extend(words)
        return words, state

    generator.commit = noted  # type: ignore[method-assign]
    state = writer.init_state()
    written: list[tuple[Word, int]] = []
    for chunk in chunks:
        (turn,), _, state = writer.step([chunk], state, is_final=False)
        written += [(word, turn.audio_ms) for word in committed[len(written) :]]
    return written, writer.counters(state)


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = parser_of("pauses", __doc__)
    add = parser.add_argument
    add_corpus_part(parser, "dev")
    add("--gap-s", type=float, default=2.0, help="silence, s (%(default)s)")
    add("--checkpoint", help="(the one shipped)")
    add("--pause-ms", type=int, nargs="+", default=[0, 200, 300, 400, 500, 600, 800])
    return parser


def main(argv: list[str] | None = None) -> int:
    """Print a table."""
    args = build_parser().parse_args(argv)
    return ended("pauses", lambda: print(pauses(args)))


def pauses(args: argparse.Namespace) -> str:
    """A line for each ``--pause-ms``."""
    rows = read_corpus_part(args.data, args.split, args.corpora)
    plain = SystemOptions(checkpoint=args.checkpoint)
    translator = build_translator(plain)
    if "st" not in translator.listener.heads:
        raise ConfigError(f"{args.checkpoint} has no CTC head of translations; expected one")
    chunks = list(encoded(translator, rows, args.data, args.gap_s))
    times = token_times(plain, translator, chunks)
    lines = []
    for pause_ms in args.pause_ms:
        options = SystemOptions(checkpoint=args.checkpoint, pause_ms=pause_ms)
        written, counters = waits(build_translator(options), chunks)
        late = sorted(
            at - times[word.num_tokens - 1] for word, at in written if word.num_tokens <= len(times)
        )
        figures = (
            *(pause_ms, len(written), statistics.mean(late), statistics.median(late)),
            *(late[int(0.95 * len(late))], late[-1]),
            *(counters["words_paused"], counters["words_split"]),
        )
        lines.append([f"{figure:.0f}" for figure in figures])
    header = ("pause", "words", "mean", "median", "p95", "max", "paused", "split")
    return (
        f"{len(rows)} recordings of {args.split}, {args.gap_s:g} s after each, policy ctc; ms from "
        f"a word's last token until it is written\n{aligned(header, lines)}"
    )


if __name__ == "__main__":
    sys.exit(main())
