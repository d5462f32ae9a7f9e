"""lhotse's cuts as JSON lines (``.jsonl`` or ``.jsonl.gz``), written and read without lhotse.

One line is a ``MonoCut`` over a whole recording with one supervision: the transcript as its text,
the translation in ``custom["translation"]``. What a manifest row holds besides is in the cut's
``custom``, so a row comes back as it was; cuts of others need an id, a recording and a text only.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from echostream.constants import SAMPLE_RATE
from echostream.errors import DataError
from echostream.training.recipes.manifest import ManifestRow, replacing
from echostream.training.recipes.split import SPLITS


def cut_of(row: ManifestRow, root: Path) -> dict[str, Any]:
    """The cut of a recording in ``root``, as lhotse's ``MonoCut.to_dict`` gives it."""
    name = f"{row.corpus}-{row.id}"
    duration = row.num_samples / SAMPLE_RATE
    return {
        "id": name,
        "start": 0,
        "duration": duration,
        "channel": 0,
        "supervisions": [
            {
                "id": name,
                "recording_id": name,
                "start": 0,
                "duration": duration,
                "channel": 0,
                "text": row.src_text,
                "language": row.src_lang,
                "speaker": row.speaker,
                "custom": {"translation": row.tgt_text, "translation_language": row.tgt_lang},
            }
        ],
        "recording": {
            "id": name,
            "sources": [
                {"type": "file", "channels": [0], "source": str(root.resolve() / row.audio)}
            ],
            "sampling_rate": SAMPLE_RATE,
            "num_samples": row.num_samples,
            "duration": duration,
            "channel_ids": [0],
        },
        "custom": {
            "utterance": row.id,
            "corpus": row.corpus,
            "split": row.split,
            "licence": row.licence,
        },
        "type": "MonoCut",
    }


def row_of(cut: Mapping[str, Any], root: Path, split: str = "train") -> ManifestRow:
    """The manifest row of a cut; a recording outside ``root`` keeps its absolute path.

    ``split`` is used where the cut has none. Raises `DataError` for cuts of another shape: parts
    of a recording, several channels or supervisions, another sample rate.
    """
    try:
        name, recording = str(cut["id"]), cut["recording"]
        (supervision,) = cut["supervisions"]
        (source,) = recording["sources"]
        num_samples, rate = int(recording["num_samples"]), int(recording["sampling_rate"])
        whole = abs(float(cut["duration"]) - num_samples / rate) < 0.5 / rate
        usable = cut["type"] == "MonoCut" and source["type"] == "file" and rate == SAMPLE_RATE
        custom, spoken = cut.get("custom") or {}, supervision.get("custom") or {}
        side = str(custom.get("split", split))
        path = Path(source["source"])
        if not (usable and whole and float(cut["start"]) == 0.0 and side in SPLITS):
            raise ValueError("not a whole recording in a file at 16 kHz, or of no known split")
        return ManifestRow(
            id=str(custom.get("utterance", name)),
            corpus=str(custom.get("corpus", "lhotse")),
            split=side,
            audio=_relative(path, root),
            num_samples=num_samples,
            seconds=round(num_samples / SAMPLE_RATE, 4),
            speaker=str(supervision.get("speaker") or ""),
            src_lang=str(supervision.get("language") or ""),
            tgt_lang=str(spoken.get("translation_language", "")),
            src_text=str(supervision.get("text") or ""),
            tgt_text=str(spoken.get("translation", "")),
            licence=str(custom.get("licence", "")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"the cut {cut.get('id') if isinstance(cut, Mapping) else cut!r} cannot be used: "
            f"{error!r}; expected a MonoCut over a whole 16 kHz file with one supervision "
            "(cut and resample with lhotse first)"
        ) from error


def _relative(path: Path, root: Path) -> str:
    absolute = path if path.is_absolute() else root.resolve() / path
    if absolute.is_relative_to(root.resolve()):
        return absolute.relative_to(root.resolve()).as_posix()
    return str(absolute)


def write_cuts(path: Path, rows: Iterable[ManifestRow], root: Path) -> None:
    """Writes one cut a line; a name that ends with .gz is compressed."""
    lines = "".join(json.dumps(cut_of(row, root), ensure_ascii=False) + "\n" for row in rows)
    data = lines.encode("utf-8")
    with replacing(path) as part:
        # Without the time of writing the same rows give the same file.
        part.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def read_cuts(path: Path, root: Path, split: str = "train") -> list[ManifestRow]:
    """The rows of the cuts in a file, with audio relative to ``root``. Raises `DataError`."""
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
        cuts = [json.loads(line) for line in text.split("\n") if line.strip()]
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"cannot read the cuts {path}: {error}; expected JSON lines") from error
    return [row_of(cut, root, split) for cut in cuts]
