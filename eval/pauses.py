"""What completing words at pauses gives and costs, on recordings with silence between them.

    echostream data es-en
    python -m eval.pauses --part dev

For each ``--pause-ms``: how long after its last token a word is written, and how many of the words
that a pause completed were split, because what came after the pause belonged to them. The audio is
encoded once; a token's time is that of its encoder frame.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from echostream.audio import read_audio
from echostream.constants import SAMPLE_RATE
from echostream.decoder.generator import EncodedChunk
from echostream.session import SystemOptions, Translator, build_translator
from echostream.session.build import build_searches
from echostream.training.corpus.manifest import ManifestRow, read_manifest

_SEGMENT = 320 * SAMPLE_RATE // 1000
_HISS = 1e-4
"""Between recordings, since no microphone gives zeros."""


def encoded(
    translator: Translator, rows: Sequence[ManifestRow], data: Path, gap_s: float
) -> Iterator[EncodedChunk]:
    """The recordings as one stream, with ``gap_s`` of silence after each."""
    chance = np.random.default_rng(0)
    state = translator.listener.init_state()
    for row in tqdm(rows, desc="encoding", unit=" recordings", leave=False):
        gap = chance.normal(0.0, _HISS, int(gap_s * SAMPLE_RATE)).astype(np.float32)
        samples = np.concatenate((read_audio(data / row.audio)[0], gap))
        for start in range(0, len(samples), _SEGMENT):
            step, state = translator.listener.step(
                samples[start : start + _SEGMENT], SAMPLE_RATE, state, is_final=False
            )
            yield from step.chunks


def token_times(options: SystemOptions, chunks: Sequence[EncodedChunk], frame_ms: int) -> list[int]:
    """When each token of the translation had been spoken, ms."""
    translator = build_translator(options)
    search = build_searches(options, translator.listener.model)["st"]
    state, times = search.init_state(), []
    for chunk in chunks:
        output, state = search.step(chunk.log_probs["st"], state)
        times += [(token.frame + 1) * frame_ms for token in output.stable]
    return times


def waits(
    translator: Translator, chunks: Sequence[EncodedChunk]
) -> tuple[list[tuple[int, int]], dict[str, int]]:
    """For each word its number of tokens so far and when it was written, ms; the counters."""
    writer = translator.writer
    state, written = writer.init_state(), []
    for chunk in chunks:
        (turn,), _, after = writer.step([chunk], state, is_final=False)
        observed = writer.generator.observe(chunk, state.generator)
        pending, _ = writer.generator.candidates(observed)
        words = [*pending.stable, *pending.tentative][: len(turn.words)]
        written += [(word.num_tokens, turn.audio_ms) for word in words]
        state = after
    return written, writer.counters(state)


def main(argv: list[str] | None = None) -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m eval.pauses", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/es-en"), help="(%(default)s)")
    parser.add_argument("--part", default="dev", choices=("dev", "test"), help="(%(default)s)")
    parser.add_argument("--gap-s", type=float, default=2.0, help="silence, s (%(default)s)")
    parser.add_argument("--checkpoint", help="(the one shipped)")
    parser.add_argument(
        "--pause-ms", type=int, nargs="+", default=[0, 200, 300, 400, 500, 600, 800]
    )
    args = parser.parse_args(argv)
    rows = [row for row in read_manifest(args.data / "manifest.tsv") if row.split == args.part]
    plain = SystemOptions(checkpoint=args.checkpoint)
    translator = build_translator(plain)
    chunks = list(encoded(translator, rows, args.data, args.gap_s))
    times = token_times(plain, chunks, translator.listener.model.encoder.frame_ms)
    print(f"{len(rows)} recordings of {args.part}, {args.gap_s:g} s after each, policy ctc, ms")
    print("pause   words  after the last token: mean  median     p95     max  paused  split")
    for pause_ms in args.pause_ms:
        options = SystemOptions(checkpoint=args.checkpoint, pause_ms=pause_ms)
        written, counters = waits(build_translator(options), chunks)
        late = sorted(at - times[tokens - 1] for tokens, at in written if tokens <= len(times))
        print(
            f"{pause_ms:5}  {len(written):6}  {statistics.mean(late):26.0f}"
            f"  {statistics.median(late):6.0f}  {late[int(0.95 * len(late))]:6}  {late[-1]:6}"
            f"  {counters['words_paused']:6}  {counters['words_split']:5}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
