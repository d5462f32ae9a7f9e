"""The manifest: one row per utterance, tab-separated, with a header line."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path, PurePosixPath

from echostream.constants import SAMPLE_RATE
from echostream.errors import DataError
from echostream.training.recipes.split import SPLITS
from echostream.whole_file import replacing as replacing


@dataclass(frozen=True)
class ManifestRow:
    """One utterance; the fields are the columns.

    ``audio`` is relative to the manifest's folder, ``num_samples`` is at 16 kHz and ``seconds`` is
    the same length. Texts are as published, on one line, without markup.
    """

    id: str
    corpus: str
    split: str
    audio: str
    num_samples: int
    seconds: float
    speaker: str
    src_lang: str
    tgt_lang: str
    src_text: str
    tgt_text: str
    licence: str

    @property
    def english(self) -> str:
        """The English side, which decides the split."""
        return self.src_text if self.src_lang == "en" else self.tgt_text


COLUMNS = tuple(field.name for field in fields(ManifestRow))


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 with Unix line ends, all or nothing."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def write_manifest(path: Path, rows: Iterable[ManifestRow]) -> None:
    """Writes the rows in the order given. A tab or line end in a field is a `DataError`."""
    lines = ["\t".join(COLUMNS)]
    for row in rows:
        values = [str(value) for value in astuple(row)]
        for name, value in zip(COLUMNS, values, strict=True):
            if any(character in value for character in "\t\r\n"):
                raise DataError(
                    f"{row.corpus}/{row.id}: {name} holds a tab or a line end: {value!r}"
                )
        lines.append("\t".join(values))
    write_text(path, "\n".join(lines) + "\n")


def read_manifest(path: Path) -> list[ManifestRow]:
    """Rows of a manifest, checked: columns, splits, lengths. Raises `DataError`."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except FileNotFoundError as error:
        raise DataError(
            f"no manifest at {path}; make it with `echostream data es-en --output {path.parent}`"
        ) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read the manifest {path}: {error}") from error
    if not table or tuple(table[0]) != COLUMNS:
        raise DataError(
            f"{path} has the columns {table[0] if table else []}, expected {list(COLUMNS)}; "
            "delete it and run the recipe again"
        )
    return [_row(path, number, values) for number, values in enumerate(table[1:], start=2)]


def _row(path: Path, number: int, values: Sequence[str]) -> ManifestRow:
    if len(values) != len(COLUMNS):
        raise DataError(f"{path}:{number} has {len(values)} fields, expected {len(COLUMNS)}")
    cells = dict(zip(COLUMNS, values, strict=True))
    try:
        num_samples, seconds = int(cells["num_samples"]), float(cells["seconds"])
    except ValueError as error:
        raise DataError(f"{path}:{number}: {error}") from error
    audio = PurePosixPath(cells["audio"])
    if audio.is_absolute() or ".." in audio.parts or "\0" in cells["audio"]:
        raise DataError(
            f"{path}:{number}: the audio {cells['audio']!r} is outside the manifest's folder; "
            "expected a relative path without '..'"
        )
    if cells["split"] not in SPLITS:
        raise DataError(f"{path}:{number}: split {cells['split']!r}, expected one of {SPLITS}")
    if num_samples <= 0 or not abs(seconds - num_samples / SAMPLE_RATE) <= 0.001:  # NaN too
        raise DataError(
            f"{path}:{number}: {num_samples} samples and {seconds} s do not agree "
            f"at {SAMPLE_RATE} Hz"
        )
    text = {name: cells[name] for name in COLUMNS if name not in ("num_samples", "seconds")}
    return ManifestRow(num_samples=num_samples, seconds=seconds, **text)


def write_lists(folder: Path, rows: Sequence[ManifestRow], root: Path) -> None:
    """SimulEval's lists per (corpus, split): audio paths, references, source texts.

    Paths are absolute: SimulEval opens them relative to whatever folder it is started in.
    """
    columns: dict[str, Callable[[ManifestRow], str]] = {
        "wav_list": lambda row: str(root.resolve() / row.audio),
        "target": lambda row: row.tgt_text,
        "source_text": lambda row: row.src_text,
    }
    for corpus, split in sorted({(row.corpus, row.split) for row in rows}):
        selected = [row for row in rows if (row.corpus, row.split) == (corpus, split)]
        for suffix, value in columns.items():
            lines = "".join(value(row) + "\n" for row in selected)
            write_text(folder / f"{corpus}.{split}.{suffix}", lines)
