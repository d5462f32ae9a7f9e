"""Other projects' recordings to 16 kHz FLAC and manifest rows, in the layout of the recipes."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from echostream.constants import SAMPLE_RATE
from echostream.errors import DataError
from echostream.text import normalise
from echostream.training.corpus.clip import (
    Clip,
    check_ids,
    collapse_spaces,
    file_id,
    piece_bytes,
    plausible_rate,
    read_clip,
)
from echostream.training.corpus.conversion import convert, in_parallel
from echostream.training.corpus.disk import disk_errors
from echostream.training.corpus.manifest import ManifestRow, write_tables
from echostream.training.corpus.speech_tables import NPY, find_tables, part_of, read_speech_table

logger = logging.getLogger(__name__)


def read_fairseq(path: Path, source: str, target: str) -> list[Clip]:
    """The clips of a fairseq or StreamSpeech table, or of all in a folder.

    Args:
        path: table whose name tells its part, or folder.
        source, target: languages; where a table names others it is refused.

    Raises:
        DataError: for a table that is refused, or that lists feature frames: they stay where they
            are, and `echostream train --data` reads them.
    """
    tables = find_tables(path) if path.is_dir() else {part_of(path): path}
    if not tables:
        raise DataError(f"{path} has no table; expected train.tsv, dev_st.tsv or the like")
    clips = []
    for split, table in tables.items():
        for clip in (row.clip for row in read_speech_table(table, split)):
            if clip.path.suffix == ".npy" or (
                clip.piece is not None and piece_bytes(clip.path, clip.piece, len(NPY)) == NPY
            ):
                raise DataError(
                    f"{table} lists feature frames ({clip.id}), of which no audio can be made; "
                    f"train on them as they are: echostream train --data {table.parent}"
                )
            for column, given, asked in (
                ("src_lang", clip.src_lang, source),
                ("tgt_lang", clip.tgt_lang, target),
            ):
                if given not in ("", asked):
                    raise DataError(f"{table}: {column} is {given!r}, but {asked!r} was asked for")
            clips.append(
                replace(
                    clip,
                    id=file_id(clip.id),
                    src_lang=source,
                    tgt_lang=target,
                    src_text=collapse_spaces(clip.src_text),
                    tgt_text=collapse_spaces(clip.tgt_text),
                )
            )
    return clips


def import_corpus(clips: Sequence[Clip], output: Path, jobs: int = 1) -> list[ManifestRow]:
    """Writes ``audio/CORPUS/SPLIT/ID.flac``, the manifest, tables by split and SimulEval's lists.

    What an earlier run wrote is kept. Training utterances whose length does not go with their text
    are left out and counted; dev and test are as they were published. The splits stay the corpus's
    own; texts on two sides are counted, not refused. Raises `DataError`.
    """
    check_ids(str(output), clips)
    rows: list[ManifestRow] = []
    dropped = 0

    def store(clip: Clip) -> int:
        return convert(output / _audio(clip), partial(read_clip, clip), clip.path)

    with disk_errors(output):
        for clip, size in in_parallel(store, clips, jobs, "convert", "clip"):
            fits = plausible_rate(clip.src_text, size / SAMPLE_RATE) and clip.tgt_text
            if clip.split == "train" and not fits:
                dropped += 1
                continue
            rows.append(clip.row(_audio(clip), size))
        if dropped:
            logger.warning("%d training utterances left out: text and length differ", dropped)
        crossing = texts_on_two_sides(rows)
        if crossing:
            logger.warning("%d translations are on two sides of the split", crossing)
        write_tables(output, rows)
    return rows


def texts_on_two_sides(rows: Sequence[ManifestRow]) -> int:
    """How many translations stand in more than one split."""
    sides: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        sides[normalise(row.english)].add(row.split)
    return sum(len(side) > 1 for text, side in sides.items() if text)


def _audio(clip: Clip) -> str:
    return f"audio/{clip.corpus}/{clip.split}/{clip.id}.flac"
