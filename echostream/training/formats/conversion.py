"""A corpus's utterances to 16 kHz FLAC and manifest rows, in the layout of the recipes.

Symbols: ``n`` samples at a file's own rate.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from echostream.constants import SAMPLE_RATE
from echostream.errors import DataError
from echostream.training.formats.folders import FolderUtterance
from echostream.training.recipes.apt import disk_errors
from echostream.training.recipes.clip import plausible_rate
from echostream.training.recipes.convert import flac_samples, to_sample_rate, write_flac
from echostream.training.recipes.manifest import ManifestRow, write_lists, write_manifest
from echostream.training.recipes.progress import progress
from echostream.training.recipes.split import SPLITS, normalise_english

logger = logging.getLogger(__name__)


def convert_corpus(
    utterances: Sequence[FolderUtterance],
    *,
    corpus: str,
    source: str,
    target: str,
    licence: str,
    output: Path,
    jobs: int = 1,
) -> list[ManifestRow]:
    """Writes ``audio/CORPUS/SPLIT/ID.flac``, the manifest, tables by split and SimulEval's lists.

    What an earlier run wrote is kept. Utterances whose length does not go with their text are left
    out and counted. The splits stay the corpus's own; English texts on two sides are counted, not
    refused. Raises `DataError`.
    """
    repeated = [key for key, n in Counter((u.split, u.id) for u in utterances).items() if n > 1]
    if repeated:
        raise DataError(f"{corpus}: {repeated[0]} stands for several recordings")
    rows: list[ManifestRow] = []
    dropped = 0
    with disk_errors(output):
        pool = ThreadPoolExecutor(max_workers=jobs)
        try:
            sizes = pool.map(lambda each: _convert(each, output / _audio(corpus, each)), utterances)
            pairs = zip(utterances, sizes, strict=True)
            for each, size in progress(pairs, len(utterances), f"convert {corpus}", "clip"):
                if not plausible_rate(each.src_text, size / SAMPLE_RATE) or not each.tgt_text:
                    dropped += 1
                    continue
                rows.append(
                    ManifestRow(
                        id=each.id,
                        corpus=corpus,
                        split=each.split,
                        audio=_audio(corpus, each),
                        num_samples=size,
                        seconds=round(size / SAMPLE_RATE, 4),
                        speaker=each.speaker,
                        src_lang=source,
                        tgt_lang=target,
                        src_text=each.src_text,
                        tgt_text=each.tgt_text,
                        licence=licence,
                    )
                )
        finally:
            pool.shutdown(cancel_futures=True)
        if dropped:
            logger.warning("%s: %d utterances left out: text and length differ", corpus, dropped)
        crossing = texts_on_two_sides(rows)
        if crossing:
            logger.warning("%s: %d English texts are on two sides of its split", corpus, crossing)
        write_manifest(output / "manifest.tsv", rows)
        for split in SPLITS:
            write_manifest(output / f"{split}.tsv", [row for row in rows if row.split == split])
        write_lists(output / "lists", rows, output)
    return rows


def texts_on_two_sides(rows: Sequence[ManifestRow]) -> int:
    """How many English texts stand in more than one split."""
    sides: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        sides[normalise_english(row.english)].add(row.split)
    return sum(len(side) > 1 for side in sides.values())


def _audio(corpus: str, each: FolderUtterance) -> str:
    return f"audio/{corpus}/{each.split}/{each.id}.flac"


def _convert(each: FolderUtterance, target: Path) -> int:
    done = flac_samples(target)
    if done is not None:
        return done
    samples, rate = read_utterance(each)
    return write_flac(target, to_sample_rate(samples, rate))


def read_utterance(each: FolderUtterance) -> tuple[NDArray[np.float32], int]:
    """Samples [n] of the utterance as one channel, and their rate in Hz. Raises `DataError`."""
    try:
        with soundfile.SoundFile(each.path) as file:
            rate = int(file.samplerate)
            start = round(each.start * rate)
            size = -1 if each.seconds is None else round(each.seconds * rate)
            if start >= file.frames:
                raise DataError(
                    f"{each.path} ends at {file.frames / rate:.2f} s, the segment {each.id} "
                    f"begins at {each.start:.2f} s"
                )
            file.seek(start)
            samples = file.read(size, dtype="float32", always_2d=True)
    except (OSError, soundfile.SoundFileError) as error:
        raise DataError(f"cannot read {each.path}: {error}") from error
    mono: NDArray[np.float32] = samples.mean(axis=1, dtype=np.float32)
    if mono.size == 0 or not np.isfinite(mono).all():
        raise DataError(f"{each.path} ({each.id}) has no usable samples (empty or not finite)")
    return mono, rate
