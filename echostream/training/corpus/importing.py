"""Other projects' recordings to 16 kHz FLAC and manifest rows, in the layout of the recipes."""

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
    plausible_rate,
    read_clip,
)
from echostream.training.corpus.conversion import convert, disk_errors, in_parallel
from echostream.training.corpus.manifest import ManifestRow, write_tables
from echostream.training.corpus.speech_tables import find_tables, holds_features, read_speech_table

logger = logging.getLogger(__name__)


def read_fairseq(path: Path, source: str, target: str) -> list[Clip]:
    """The clips of the fairseq or StreamSpeech tables of a folder, of these languages.

    Raises `DataError` for a table that is refused, or that lists feature frames: they stay where
    they are, and `echostream train --data` reads them.
    """
    tables = find_tables(path)
    if not tables:
        raise DataError(f"{path} has no table; expected train.tsv, dev_st.tsv or the like")
    clips = []
    for split, table in tables.items():
        for clip, _ in read_speech_table(table, split):
            if holds_features(clip):
                raise DataError(
                    f"{table} lists feature frames ({clip.id}), of which no audio can be made; "
                    f"train on them as they are: echostream train --data {table.parent}"
                )
            for given, asked in ((clip.src_lang, source), (clip.tgt_lang, target)):
                if given not in ("", asked):
                    raise DataError(f"{table} is of {given!r}, but {asked!r} was asked for")
            texts = collapse_spaces(clip.src_text), collapse_spaces(clip.tgt_text)
            clip = replace(clip, id=file_id(clip.id), src_lang=source, tgt_lang=target)
            clips.append(replace(clip, src_text=texts[0], tgt_text=texts[1]))
    return clips


def import_corpus(clips: Sequence[Clip], output: Path, jobs: int = 1) -> list[ManifestRow]:
    """Writes ``audio/CORPUS/SPLIT/ID.flac``, the manifest, tables by split and SimulEval's lists.

    What an earlier run wrote is kept. Training utterances whose length does not go with their text
    are left out and counted; dev and test are as they were published. The splits stay the corpus's
    own; texts on two sides are counted, not refused. Raises `DataError`.
    """
    check_ids(str(output), clips)
    rows: list[ManifestRow] = []

    def audio(clip: Clip) -> str:
        return f"audio/{clip.corpus}/{clip.split}/{clip.id}.flac"

    def store(clip: Clip) -> int:
        return convert(output / audio(clip), partial(read_clip, clip), clip.path)

    with disk_errors(output):
        for clip, size in in_parallel(store, clips, jobs, "convert", "clip"):
            fits = plausible_rate(clip.src_text, size / SAMPLE_RATE) and clip.tgt_text
            if fits or clip.split != "train":
                rows.append(clip.row(audio(clip), size))
        if len(rows) < len(clips):
            logger.warning(
                "%d training utterances left out: text and length differ", len(clips) - len(rows)
            )
        sides: dict[str, set[str]] = defaultdict(set)
        for row in rows:
            sides[normalise(row.english)].add(row.split)
        crossing = sum(len(side) > 1 for text, side in sides.items() if text)
        if crossing:
            logger.warning("%d translations are on two sides of the split", crossing)
        write_tables(output, rows)
    return rows
