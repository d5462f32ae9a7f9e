"""Long recordings made of short ones, to see what a system does after the first sentence."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import soundfile

from echostream.audio import read_audio
from echostream.constants import SAMPLE_RATE
from echostream.errors import DataError
from echostream.training.corpus.manifest import ManifestRow
from echostream.whole_file import replacing


def join_recordings(
    rows: Sequence[ManifestRow], data: Path, seconds: float, folder: Path
) -> list[ManifestRow]:
    """Recordings of one corpus in a row, end to end, each group at least so long.

    What is left of a corpus at its end goes to its last group; a corpus that is shorter than
    ``seconds`` altogether is left out. Files that are there already are kept.

    Args:
        rows: in the order of a manifest.
        data: folder that the rows' audio is relative to.
        seconds: least length of a group.
        folder: where the new recordings go; the new rows' audio is relative to it.

    Raises:
        DataError: if no group comes to be.
    """
    found = []
    for corpus, of_corpus in groupby(sorted(rows, key=lambda row: row.corpus), lambda r: r.corpus):
        for number, group in enumerate(groups(list(of_corpus), seconds)):
            audio = f"{corpus}-{number:03}.flac"
            path = folder / audio
            if not path.exists():
                samples = np.concatenate([read_audio(data / row.audio)[0] for row in group])
                with replacing(path) as part:
                    soundfile.write(part, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
            length = soundfile.info(path).frames
            found.append(
                dataclasses.replace(
                    group[0],
                    id=f"{corpus}-{number:03}",
                    audio=audio,
                    num_samples=length,
                    seconds=length / SAMPLE_RATE,
                    src_text=" ".join(row.src_text for row in group),
                    tgt_text=" ".join(row.tgt_text for row in group),
                )
            )
    if not found:
        raise DataError(
            f"no corpus has {seconds:g} s in this part; expected a shorter length or more speech"
        )
    return found


def groups(rows: Sequence[ManifestRow], seconds: float) -> Iterator[list[ManifestRow]]:
    """Rows in a row, together at least ``seconds`` long; none is left over unless all are."""
    group: list[ManifestRow] = []
    left = sum(row.seconds for row in rows)
    length = 0.0
    for row in rows:
        group.append(row)
        length, left = length + row.seconds, left - row.seconds
        # What would not fill a group of its own stays with this one.
        if length >= seconds and left >= seconds:
            yield group
            group, length = [], 0.0
    if length >= seconds:
        yield group
