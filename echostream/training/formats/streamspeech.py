"""StreamSpeech's tables (arXiv 2406.03049): the main one and those of its auxiliary tasks.

Main table, ``<data>/{train,dev,test}.tsv``:
``id src_audio src_n_frames src_text tgt_text tgt_audio tgt_n_frames``, where ``tgt_audio`` is the
target speech as reduced units (whole numbers separated by spaces) and ``tgt_n_frames`` their count.
Auxiliary table, ``<task data>/{train,dev,test}.tsv``: ``id tgt_text`` with the text as
SentencePiece pieces separated by spaces, of the lower-cased text without punctuation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from echostream.errors import DataError
from echostream.training.formats.fairseq_s2t import feature_frames
from echostream.training.formats.tab_separated import (
    read_table,
    unique_ids,
    whole_number,
    write_table,
)
from echostream.training.recipes.manifest import ManifestRow


@dataclass(frozen=True)
class StreamSpeechRow:
    """One utterance of the main table; the fields are the columns.

    ``src_audio`` is a path or ``archive.zip:offset:length``; ``src_n_frames`` counts feature
    frames. Without target speech ``tgt_audio`` is empty and ``tgt_n_frames`` 0.
    """

    id: str
    src_audio: str
    src_n_frames: int
    src_text: str
    tgt_text: str
    tgt_audio: str
    tgt_n_frames: int


@dataclass(frozen=True)
class AuxiliaryRow:
    """One utterance of an auxiliary task: the pieces of its text, separated by spaces."""

    id: str
    tgt_text: str


COLUMNS = tuple(field.name for field in fields(StreamSpeechRow))
AUXILIARY_COLUMNS = ("id", "tgt_text")


def reduce_units(units: Iterable[int]) -> list[int]:
    """Units without immediate repetitions, as StreamSpeech stores them."""
    reduced: list[int] = []
    for unit in units:
        if not reduced or reduced[-1] != unit:
            reduced.append(unit)
    return reduced


def auxiliary_text(text: str) -> str:
    """Text as the auxiliary tasks see it: lower case, punctuation removed.

    Apostrophes vanish without a space ("l'expérience" becomes "lexpérience"), as there.
    """
    return " ".join(re.sub(r"[^\w\s]", "", text).lower().split())


def streamspeech_row(row: ManifestRow, root: Path, units: Sequence[int] = ()) -> StreamSpeechRow:
    """The main table's row for a recording in ``root``; ``units`` of the target speech are
    reduced."""
    reduced = reduce_units(units)
    return StreamSpeechRow(
        id=f"{row.corpus}_{row.id}",
        src_audio=str(root.resolve() / row.audio),
        src_n_frames=feature_frames(row.num_samples),
        src_text=row.src_text,
        tgt_text=row.tgt_text,
        tgt_audio=" ".join(map(str, reduced)),
        tgt_n_frames=len(reduced),
    )


def auxiliary_row(
    row: ManifestRow, pieces: Callable[[str], Sequence[str]], *, target: bool = True
) -> AuxiliaryRow:
    """The auxiliary row of the translation, or of the transcript if ``target`` is False.

    ``pieces`` cuts a text into SentencePiece pieces (``processor.encode(text, out_type=str)``).
    """
    text = auxiliary_text(row.tgt_text if target else row.src_text)
    return AuxiliaryRow(f"{row.corpus}_{row.id}", " ".join(pieces(text)))


def write_streamspeech(path: Path, rows: Iterable[StreamSpeechRow]) -> None:
    """Writes the main table. Raises `DataError`."""
    table = list(rows)
    unique_ids(path, [row.id for row in table])
    write_table(path, COLUMNS, [asdict(row) for row in table])


def read_streamspeech(path: Path) -> list[StreamSpeechRow]:
    """The rows of a main table, lengths checked. Raises `DataError`."""
    rows = []
    for number, cells in enumerate(read_table(path, COLUMNS), start=2):
        source = whole_number(path, number, "src_n_frames", cells["src_n_frames"])
        target = whole_number(path, number, "tgt_n_frames", cells["tgt_n_frames"])
        units = cells["tgt_audio"].split()
        # Other target audio than units (a path) has a length of its own.
        if all(unit.isdecimal() for unit in units) and len(units) != target:
            raise DataError(
                f"{path}:{number}: tgt_audio has {len(units)} units, tgt_n_frames says {target}"
            )
        texts = {c: cells[c] for c in COLUMNS if c not in ("src_n_frames", "tgt_n_frames")}
        rows.append(StreamSpeechRow(src_n_frames=source, tgt_n_frames=target, **texts))
    unique_ids(path, [row.id for row in rows])
    return rows


def write_auxiliary(path: Path, rows: Iterable[AuxiliaryRow]) -> None:
    """Writes an auxiliary table. Raises `DataError`."""
    table = list(rows)
    unique_ids(path, [row.id for row in table])
    write_table(path, AUXILIARY_COLUMNS, [asdict(row) for row in table])


def read_auxiliary(path: Path) -> list[AuxiliaryRow]:
    """The rows of an auxiliary table. Raises `DataError`."""
    table = read_table(path, AUXILIARY_COLUMNS)
    rows = [AuxiliaryRow(cells["id"], cells["tgt_text"]) for cells in table]
    unique_ids(path, [row.id for row in rows])
    return rows
