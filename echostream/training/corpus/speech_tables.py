"""fairseq's speech-to-text tables and StreamSpeech's (arXiv 2406.03049).

fairseq's columns are ``id audio n_frames tgt_text`` and perhaps ``src_text speaker src_lang
tgt_lang`` (examples/speech_to_text); StreamSpeech's ``id src_audio src_n_frames src_text tgt_text
tgt_audio tgt_n_frames``, where ``tgt_audio`` is target speech as reduced units, not read here.

The audio is a path, relative to the table's folder or to ``audio_root`` of a configuration beside
it, or absolute, or ``archive.zip:offset:length``. The length is in feature frames (100 Hz), or in
samples where the task reads waveforms: which of them is found by looking at recordings.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from echostream.constants import FRAME_LENGTH_SAMPLES, FRAME_SHIFT_SAMPLES, SAMPLE_RATE
from echostream.errors import DataError
from echostream.training.corpus.clip import Clip, opened, piece_bytes
from echostream.training.corpus.manifest import ManifestRow
from echostream.training.corpus.split import Split
from echostream.training.corpus.tab_separated import (
    check_fields,
    read_table,
    unique_ids,
    write_table,
)

FAIRSEQ_COLUMNS = ("id", "audio", "n_frames", "tgt_text", "src_text")
OPTIONAL = ("speaker", "src_lang", "tgt_lang")
STREAMSPEECH_COLUMNS = (
    *("id", "src_audio", "src_n_frames", "src_text", "tgt_text", "tgt_audio", "tgt_n_frames"),
)
NPY = b"\x93NUMPY"
PROBED = 8
"""Recordings of an archive, or of files of one kind, whose lengths are looked at; all of them where
these do not agree on what the table counts."""

_NAMES: dict[Split, str] = {"train": "train", "dev": "dev|valid", "test": "test|tst-COMMON"}
_PLACE = re.compile(r"^(?P<path>.+):(?P<offset>\d+):(?P<length>\d+)$")


def feature_frames(num_samples: int) -> int:
    """Feature frames of a recording at 16 kHz: as many as whole windows fit."""
    return max(0, 1 + (num_samples - FRAME_LENGTH_SAMPLES) // FRAME_SHIFT_SAMPLES)


def holds_features(clip: Clip) -> bool:
    """Whether the clip is feature frames instead of audio."""
    if clip.piece is None:
        return clip.path.suffix == ".npy"
    return piece_bytes(clip.path, clip.piece, len(NPY)) == NPY


def write_speech_table(
    path: Path, rows: Iterable[ManifestRow], root: Path, *, streamspeech: bool = False
) -> None:
    """Writes the table for recordings in ``root``, lengths in feature frames.

    The id carries the corpus, since fairseq wants it unique in a table. Raises `DataError`.
    """
    cells = [
        {
            "id": f"{row.corpus}_{row.id}",
            **dict.fromkeys(("audio", "src_audio"), str(root.resolve() / row.audio)),
            **dict.fromkeys(("n_frames", "src_n_frames"), feature_frames(row.num_samples)),
            **{name: getattr(row, name) for name in ("tgt_text", "src_text", *OPTIONAL)},
            "tgt_audio": "",
            "tgt_n_frames": 0,
        }
        for row in rows
    ]
    unique_ids(path, [str(row["id"]) for row in cells])
    columns = STREAMSPEECH_COLUMNS if streamspeech else (*FAIRSEQ_COLUMNS, *OPTIONAL)
    write_table(path, columns, cells, escapes=True)


def find_tables(folder: Path) -> dict[Split, Path]:
    """The tables of a folder by part: ``train.tsv``, ``train_st.tsv``, ``dev_st_es_en.tsv``, ...

    Raises `DataError` where two tables could be meant for one part.
    """
    found: dict[Split, Path] = {}
    for split, names in _NAMES.items():
        pattern = re.compile(rf"(?:{names})(?:_st(?:_[\w-]+)?)?\.tsv")
        paths = sorted(path for path in folder.glob("*.tsv") if pattern.fullmatch(path.name))
        if len(paths) > 1:
            raise DataError(
                f"{folder} has {' and '.join(path.name for path in paths)} for {split}; "
                "expected one table a part: move the others to another folder"
            )
        if paths:
            found[split] = paths[0]
    return found


def read_speech_table(path: Path, split: str) -> list[tuple[Clip, int]]:
    """The clips of a table of either kind, with their lengths in samples at 16 kHz.

    Raises `DataError` for a missing column (fairseq's own tables for translation have no
    ``src_text``), a damaged row, rows of several languages, columns that choose or change what is
    heard, and lengths that are neither frames nor samples.
    """
    table = read_table(path, escapes=True)
    if not table:
        return []
    header = list(table[0][1])
    prefix = "src_" if "src_audio" in header else ""
    required = STREAMSPEECH_COLUMNS if prefix else FAIRSEQ_COLUMNS
    missing = [column for column in required if column not in header]
    if missing:
        raise DataError(
            f"{path} has no column {missing[0]}; it has {', '.join(header)}, expected "
            f"{', '.join(required)}. A table for translation alone lacks src_text: it is the "
            "tgt_text of the table for recognition (train_asr.tsv) at the same id"
        )
    check_fields(path, header, (*required, *OPTIONAL))
    roots = [path.parent, *_audio_roots(path.parent)]
    lengths, clips = [], []
    for number, cells in table:
        length = cells[f"{prefix}n_frames"]
        if not (length.isascii() and length.isdecimal()):
            raise DataError(
                f"{path}:{number}: {prefix}n_frames is {length!r}, expected a whole number"
            )
        lengths.append(int(length))
        audio, piece = place_of(roots, cells[f"{prefix}audio"])
        clips.append(
            Clip(
                id=cells["id"],
                path=audio,
                seconds=None,
                speaker=cells.get("speaker", ""),
                src_text=cells["src_text"],
                tgt_text=cells["tgt_text"],
                corpus=path.parent.name,
                split=split,
                src_lang=cells.get("src_lang", ""),
                tgt_lang=cells.get("tgt_lang", ""),
                piece=piece,
            )
        )
    unique_ids(path, [clip.id for clip in clips])
    for column in ("src_lang", "tgt_lang"):
        languages = sorted({getattr(clip, column) for clip in clips})
        if len(languages) > 1:
            raise DataError(f"{path}: {column} is {languages}; expected one language in a table")
    return list(zip(clips, _lengths(path, clips, lengths), strict=True))


def _audio_roots(folder: Path) -> list[Path]:
    """``audio_root`` of the task's configurations, which fairseq's recipes leave beside tables."""
    roots = []
    for path in sorted(folder.glob("config*.yaml")):
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise DataError(f"cannot read the configuration {path}: {error}") from error
        root = content.get("audio_root") if isinstance(content, dict) else None
        if root:
            roots.append(folder / str(root))
    return roots


def place_of(roots: Sequence[Path], text: str) -> tuple[Path, tuple[int, int] | None]:
    """The file that a table names, under the first root that has it, and which bytes of it."""
    found = _PLACE.match(text)
    name = text if found is None else found["path"]
    path = next((root / name for root in roots if (root / name).exists()), roots[0] / name)
    return path, None if found is None else (int(found["offset"]), int(found["length"]))


def _lengths(path: Path, clips: Sequence[Clip], counts: Sequence[int]) -> list[int]:
    """Samples at 16 kHz of every row; what a table counts is found for each archive and each kind
    of files by itself."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, clip in enumerate(clips):
        groups[clip.path.suffix if clip.piece is None else str(clip.path)].append(index)
    steps: dict[int, float] = {}
    for rows in groups.values():
        probed = rows[:: max(1, len(rows) // PROBED)]
        found = {_samples_per_count(path, clips[row], counts[row]) for row in probed}
        for row in rows:
            alike = len(found) == 1
            steps[row] = min(found) if alike else _samples_per_count(path, clips[row], counts[row])
    return [round(count * steps[row]) for row, count in enumerate(counts)]


def _samples_per_count(path: Path, clip: Clip, count: int) -> float:
    """Samples at 16 kHz for one of what the table counts in this row, frames or samples.

    A recording that is not there yet is taken to be counted in frames.
    """
    if not clip.path.exists() or holds_features(clip):
        return FRAME_SHIFT_SAMPLES
    with opened(clip.path, clip.piece) as file:
        size, rate = file.frames, int(file.samplerate)
    true = size * SAMPLE_RATE / rate
    # The last window may be left out or filled up; coded recordings are longer by some samples.
    for step, error in ((FRAME_SHIFT_SAMPLES, 800), (1, 0), (SAMPLE_RATE / rate, 0)):
        if abs(count * step - true) <= error + 0.02 * true:
            return step
    raise DataError(
        f"{path}: the length of {clip.id!r} is {count}; its recording has {size} samples at {rate} "
        f"Hz, so expected about {true / FRAME_SHIFT_SAMPLES:.0f} frames or {size} samples"
    )
