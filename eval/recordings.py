"""Recordings of a corpus for a program that measures: which, in lists, or put end to end."""

from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from echostream.audio import read_audio
from echostream.constants import SAMPLE_RATE
from echostream.errors import DataError
from echostream.text import normalise
from echostream.training.corpus.manifest import ManifestRow, read_manifest
from echostream.training.corpus.split import SPLITS
from echostream.training.corpus.utterances import parse_names
from echostream.whole_file import replacing, write_whole
from eval.sweep import Source, read_sources

HISS = 1e-4
"""Deviation of the noise where nobody speaks, since no microphone gives zeros."""


def add_corpus_part(parser: ArgumentParser, split: str = "test") -> None:
    """The options that :func:`read_corpus_part` is called with; ``split`` is the default."""
    add = parser.add_argument
    add("--data", type=Path, default=Path("data/es-en"), help="corpus (%(default)s)")
    add("--split", default=split, choices=SPLITS, help="part of it (%(default)s)")
    add("--corpora", metavar="A,B", help="only these of its corpora (all)")


def read_corpus_part(data: Path, split: str, corpora: str | None = None) -> list[ManifestRow]:
    """Recordings of a part that have both texts, of all corpora or those of a comma-separated list.

    Raises:
        DataError: if there is no corpus in the folder or fewer than two such recordings in it.
    """
    manifest = data / "manifest.tsv"
    if not manifest.exists():
        raise DataError(f"{manifest} is not there; expected a corpus: run `echostream data es-en`")
    names = parse_names(corpora or "")
    rows = [
        row
        for row in read_manifest(manifest)
        if row.split == split
        and (not names or row.corpus in names)
        and normalise(row.src_text)
        and normalise(row.tgt_text)
    ]
    if len(rows) < 2:
        raise DataError(
            f"{manifest} has {len(rows)} recordings with both texts in the part {split!r} of "
            f"{', '.join(names) or 'all corpora'}; expected at least 2"
        )
    return rows


def listed_sources(
    rows: Sequence[ManifestRow], data: Path, folder: Path, task: str = "s2tt"
) -> list[Source]:
    """SimulEval's lists of the rows, ``wav_list`` and one named for the task, and what they say.

    References are normalised, because models write text in lower case and without punctuation.
    """
    texts = [row.src_text if task == "asr" else row.tgt_text for row in rows]
    write_whole(folder / "wav_list", "".join(f"{data / row.audio}\n" for row in rows))
    write_whole(folder / task, "".join(f"{normalise(text)}\n" for text in texts))
    return read_sources(folder / "wav_list", folder / task)


def long_recording(
    rows: Sequence[ManifestRow], data: Path, seconds: int
) -> tuple[NDArray[np.float32], str]:
    """``[samples]`` of recordings one after the other, at least so long, and their references."""
    parts: list[NDArray[np.float32]] = []
    words: list[str] = []
    while sum(map(len, parts)) < seconds * SAMPLE_RATE:
        row = rows[len(parts) % len(rows)]
        samples, _ = read_audio(data / row.audio)
        parts.append(samples.mean(axis=1) if samples.ndim == 2 else samples)
        words.append(normalise(row.tgt_text))
    return np.concatenate(parts), " ".join(words)


def join_recordings(
    rows: Sequence[ManifestRow], data: Path, seconds: float, folder: Path
) -> list[ManifestRow]:
    """Consecutive recordings of one corpus, end to end, each group at least so long.

    What is left of a corpus at its end goes to its last group; a corpus that is shorter than
    ``seconds`` altogether is left out. A file that is there already is kept if it is as long as
    its group; one of another ``seconds`` or corpus is made anew.

    Args:
        rows: in the order of a manifest.
        data: folder that the rows' audio is relative to.
        seconds: least length of a group.
        folder: where the new recordings go; the new rows' audio is relative to it.

    Raises:
        DataError: if no group comes to be.
    """
    found = []
    for corpus in sorted({row.corpus for row in rows}):
        own = [row for row in rows if row.corpus == corpus]
        for number, group in enumerate(_groups(own, seconds)):
            name = f"{corpus}-{number:03}"
            path = folder / f"{name}.flac"
            length = sum(row.num_samples for row in group)
            if not path.exists() or soundfile.info(path).frames != length:
                samples = np.concatenate([read_audio(data / row.audio)[0] for row in group])
                with replacing(path) as part:
                    soundfile.write(part, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
                length = len(samples)
            joined = replace(
                group[0],
                id=name,
                audio=path.name,
                num_samples=length,
                seconds=length / SAMPLE_RATE,
                src_text=" ".join(row.src_text for row in group),
                tgt_text=" ".join(row.tgt_text for row in group),
            )
            found.append(joined)
    if not found:
        raise DataError(
            f"no corpus has {seconds:g} s in this part; expected a shorter length or more speech"
        )
    return found


def _groups(rows: Sequence[ManifestRow], seconds: float) -> Iterator[list[ManifestRow]]:
    """Consecutive rows, at least ``seconds`` long together; no row is left over unless all are."""
    group: list[ManifestRow] = []
    left = sum(row.seconds for row in rows)
    for row in rows:
        group.append(row)
        left -= row.seconds
        # What would not fill a group of its own stays with this one.
        is_long = sum(each.seconds for each in group) >= seconds
        if is_long and (left >= seconds or row is rows[-1]):
            yield group
            group = []
