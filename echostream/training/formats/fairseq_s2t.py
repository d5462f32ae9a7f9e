"""fairseq's speech-to-text tables.

The columns are ``id audio n_frames tgt_text`` and perhaps ``src_text speaker src_lang tgt_lang``.
``audio`` is a path, relative to the folder that the task is given as audio root or absolute, or
``archive.zip:offset:length``; ``n_frames`` is the length in feature frames (100 Hz), or in samples
where the task reads waveforms. See fairseq's examples/speech_to_text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from echostream.constants import FRAME_LENGTH_SAMPLES, FRAME_SHIFT_SAMPLES
from echostream.training.formats.tab_separated import (
    read_table,
    unique_ids,
    whole_number,
    write_table,
)
from echostream.training.recipes.manifest import ManifestRow

REQUIRED = ("id", "audio", "n_frames", "tgt_text")
OPTIONAL = ("src_text", "speaker", "src_lang", "tgt_lang")


@dataclass(frozen=True)
class S2TRow:
    """One utterance; the fields are the columns, optional ones empty where there is none."""

    id: str
    audio: str
    n_frames: int
    tgt_text: str
    src_text: str = ""
    speaker: str = ""
    src_lang: str = ""
    tgt_lang: str = ""


def feature_frames(num_samples: int) -> int:
    """Feature frames of a recording at 16 kHz: as many as whole windows fit."""
    return max(0, 1 + (num_samples - FRAME_LENGTH_SAMPLES) // FRAME_SHIFT_SAMPLES)


def s2t_row(row: ManifestRow, root: Path, *, waveform: bool = False) -> S2TRow:
    """The row for a recording in ``root``; ``waveform`` counts samples instead of frames.

    The id carries the corpus, since fairseq wants it unique in a table.
    """
    return S2TRow(
        id=f"{row.corpus}_{row.id}",
        audio=str(root.resolve() / row.audio),
        n_frames=row.num_samples if waveform else feature_frames(row.num_samples),
        tgt_text=row.tgt_text,
        src_text=row.src_text,
        speaker=row.speaker,
        src_lang=row.src_lang,
        tgt_lang=row.tgt_lang,
    )


def write_s2t(path: Path, rows: Iterable[S2TRow]) -> None:
    """Writes the table with those optional columns that some row fills. Raises `DataError`."""
    table: Sequence[S2TRow] = list(rows)
    used = [column for column in OPTIONAL if any(getattr(row, column) for row in table)]
    unique_ids(path, [row.id for row in table])
    write_table(path, (*REQUIRED, *used), [asdict(row) for row in table])


def read_s2t(path: Path) -> list[S2TRow]:
    """The rows of a table; columns of other names are ignored. Raises `DataError`."""
    rows = []
    for number, cells in enumerate(read_table(path, REQUIRED), start=2):
        texts = {column: cells.get(column, "") for column in OPTIONAL}
        frames = whole_number(path, number, "n_frames", cells["n_frames"])
        rows.append(S2TRow(cells["id"], cells["audio"], frames, cells["tgt_text"], **texts))
    unique_ids(path, [row.id for row in rows])
    return rows
