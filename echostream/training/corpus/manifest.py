"""The manifest: one row per utterance, tab-separated, with a header line."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

from echostream.constants import SAMPLE_RATE
from echostream.errors import DataError
from echostream.training.corpus.split import SPLITS, normalise_english
from echostream.training.corpus.tab_separated import read_table, write_table
from echostream.whole_file import write_whole

MANIFEST = "manifest.tsv"


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


def write_manifest(path: Path, rows: Iterable[ManifestRow]) -> None:
    """Writes the rows in the order given. A tab or line end in a field is a `DataError`."""
    write_table(path, COLUMNS, [asdict(row) for row in rows])


def read_manifest(path: Path) -> list[ManifestRow]:
    """Rows of a manifest, checked: columns, splits, lengths. Raises `DataError`."""
    if not path.exists():
        raise DataError(
            f"no manifest at {path}; make it with `echostream data es-en --output {path.parent}`"
        )
    table = read_table(path, COLUMNS)
    if table and tuple(table[0][1]) != COLUMNS:
        raise DataError(
            f"{path} has the columns {list(table[0][1])}, expected {list(COLUMNS)}; "
            "delete it and run the recipe again"
        )
    return [_row(f"{path}:{number}", cells) for number, cells in table]


def _row(place: str, cells: Mapping[str, str]) -> ManifestRow:
    try:
        num_samples, seconds = int(cells["num_samples"]), float(cells["seconds"])
    except ValueError as error:
        raise DataError(f"{place}: {error}") from error
    audio = PurePosixPath(cells["audio"])
    if audio.is_absolute() or ".." in audio.parts or "\0" in cells["audio"]:
        raise DataError(
            f"{place}: the audio {cells['audio']!r} is outside the manifest's folder; "
            "expected a relative path without '..'"
        )
    if cells["split"] not in SPLITS:
        raise DataError(f"{place}: split {cells['split']!r}, expected one of {SPLITS}")
    if num_samples <= 0 or not abs(seconds - num_samples / SAMPLE_RATE) <= 0.001:  # NaN too
        raise DataError(
            f"{place}: {num_samples} samples and {seconds} s do not agree at {SAMPLE_RATE} Hz"
        )
    values: dict[str, Any] = {**cells, "num_samples": num_samples, "seconds": seconds}
    return ManifestRow(**values)


def write_tables(folder: Path, rows: Sequence[ManifestRow]) -> None:
    """One table a split, SimulEval's lists in ``lists``, and at last ``manifest.tsv``."""
    for split in SPLITS:
        write_manifest(folder / f"{split}.tsv", [row for row in rows if row.split == split])
    write_lists(folder / "lists", rows, folder)
    write_manifest(folder / MANIFEST, rows)


def write_lists(folder: Path, rows: Sequence[ManifestRow], root: Path) -> None:
    """SimulEval's lists per (corpus, split): audio paths, references, source texts.

    Paths are absolute: SimulEval opens them relative to whatever folder it is started in.
    """
    lists: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        name = f"{row.corpus}.{row.split}"
        lists[f"{name}.wav_list"].append(f"{root.resolve() / row.audio}\n")
        lists[f"{name}.target"].append(f"{row.tgt_text}\n")
        lists[f"{name}.source_text"].append(f"{row.src_text}\n")
    for name, lines in lists.items():
        write_whole(folder / name, "".join(lines))


def leak_check(rows: Iterable[ManifestRow]) -> None:
    """Raises `DataError` when one normalised English text is on two sides of the split."""
    seen: dict[str, ManifestRow] = {}
    for row in rows:
        key = normalise_english(row.english)
        first = seen.setdefault(key, row)
        if first.split != row.split:
            raise DataError(
                f"the English text {key!r} is on two sides of the split: "
                f"{first.corpus}/{first.id} in {first.split}, "
                f"{row.corpus}/{row.id} in {row.split}; "
                "expected one side per text; build the manifests again with the recipe"
            )
