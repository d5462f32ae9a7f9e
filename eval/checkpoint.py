"""Quality of a checkpoint on recorded speech: WER and CER of its transcripts, BLEU of translations.

    python -m eval.checkpoint --data data/es-en

Every recording is streamed in segments of 320 ms through the translator, once for each task, with
the policy `offline`, so that the words do not depend on a policy; chunking is the checkpoint's.
References are lower-cased and without punctuation, as the model writes text.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from pathlib import Path

import jiwer
import sacrebleu
import torch
from tqdm import tqdm

from echostream.audio import stream_audio
from echostream.session import AgentOptions, Translator, build_translator
from echostream.text import normalise
from echostream.training.recipes.manifest import ManifestRow, read_manifest

SEGMENT_MS = 320


def main(argv: list[str] | None = None) -> int:
    """Print one row for each corpus and one for all."""
    parser = argparse.ArgumentParser(prog="python -m eval.checkpoint", description=__doc__)
    parser.add_argument("--checkpoint", help="folder (default: the one shipped)")
    parser.add_argument("--data", type=Path, default=Path("data/es-en"))
    parser.add_argument("--split", default="test", choices=("train", "dev", "test"))
    parser.add_argument("--chunk-ms", type=int, help="(default: the checkpoint's)")
    parser.add_argument("--decoder", help="CTC search (default: the checkpoint's)")
    parser.add_argument("--decoder-options", help="such as blank_penalty=1 (likewise)")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    rows = [row for row in read_manifest(args.data / "manifest.tsv") if row.split == args.split]

    said: dict[str, dict[str, str]] = {}
    seconds = 0.0
    for task in ("asr", "s2tt"):
        options = AgentOptions(
            checkpoint=args.checkpoint,
            task=task,
            policy="offline",
            chunk_ms=args.chunk_ms,
            decoder=args.decoder,
            decoder_options=args.decoder_options,
        )
        translator = build_translator(options)
        started = time.process_time()
        said[task] = {
            row.id: transcribe(translator, args.data / row.audio) for row in tqdm(rows, desc=task)
        }
        seconds += time.process_time() - started

    by_corpus: dict[str, list[ManifestRow]] = defaultdict(list)
    for row in rows:
        by_corpus[row.corpus].append(row)
    print(f"{'corpus':12} {'recordings':>10} {'minutes':>8} {'WER %':>7} {'CER %':>7} {'BLEU':>6}")
    for corpus, part in [*sorted(by_corpus.items()), ("all", rows)]:
        wer, cer, bleu = quality(part, said)
        minutes = sum(row.seconds for row in part) / 60
        print(f"{corpus:12} {len(part):10} {minutes:8.1f} {wer:7.1f} {cer:7.1f} {bleu:6.2f}")
    heard = 2 * sum(row.seconds for row in rows)
    print(f"compute RTF {seconds / heard:.3f} (CPU time, one thread, files read included)")
    return 0


def transcribe(translator: Translator, path: Path) -> str:
    """All words of a recording."""
    state = translator.init_state()
    words: list[str] = []
    for samples, rate in stream_audio(path, SEGMENT_MS):
        step, state = translator.step(samples, rate, state, is_final=False)
        words.extend(step.words)
    step, _ = translator.step([], None, state, is_final=True)
    return " ".join((*words, *step.words))


def quality(rows: list[ManifestRow], said: dict[str, dict[str, str]]) -> tuple[float, float, float]:
    """Word and character error rate in percent, and BLEU, of these recordings."""
    spoken = [row for row in rows if normalise(row.src_text)]
    transcripts = [normalise(row.src_text) for row in spoken]
    heard = [said["asr"][row.id] for row in spoken]
    references = [normalise(row.tgt_text) for row in rows]
    bleu = sacrebleu.corpus_bleu([said["s2tt"][row.id] for row in rows], [references])
    return 100 * jiwer.wer(transcripts, heard), 100 * jiwer.cer(transcripts, heard), bleu.score


if __name__ == "__main__":
    sys.exit(main())
