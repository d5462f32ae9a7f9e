"""The folders of CoVoST 2, CVSS-C and MuST-C, as they are after unpacking.

CoVoST 2 (arXiv 2007.10310), one folder a language with Common Voice 4 inside::

    validated.tsv                     client_id path sentence ...
    covost_v2.<source>_<target>.tsv   path translation split
    clips/<path>                      MP3

CVSS-C (arXiv 2201.03713), spoken English translations of CoVoST 2, beside that folder::

    {train,dev,test}.tsv              path, normalised translation; no header
    {train,dev,test}/<path>.wav       24 kHz

MuST-C (NAACL 2019), English talks::

    en-<target>/data/<split>/wav/*.wav
    en-<target>/data/<split>/txt/<split>.{yaml,en,<target>}   one segment a line

The split is the corpus's own, so that results can be compared with published ones.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from echostream.errors import DataError
from echostream.training.formats.tab_separated import read_cells, read_table
from echostream.training.recipes.clip import collapse_spaces, file_id
from echostream.training.recipes.split import SPLITS, Split

logger = logging.getLogger(__name__)

MUST_C_SPLITS: Mapping[str, Split] = {"train": "train", "dev": "dev", "tst-COMMON": "test"}
"""MuST-C's names of our splits; tst-HE can be named instead of tst-COMMON."""


@dataclass(frozen=True)
class FolderUtterance:
    """One utterance of a corpus: a file, or the ``seconds`` from ``start`` of one.

    ``seconds`` is None for a whole file; ``target_audio`` is the spoken translation, if any.
    """

    id: str
    split: Split
    path: Path
    speaker: str
    src_text: str
    tgt_text: str
    start: float = 0.0
    seconds: float | None = None
    target_audio: Path | None = None


def read_covost2(root: Path, source: str, target: str) -> list[FolderUtterance]:
    """Utterances of CoVoST 2 in the folder of the source language, in the table's order.

    Clips that are not there are left out with a warning, since Common Voice withdraws some. Raises
    `DataError` when a table is missing or damaged, or no clip is there.
    """
    spoken = {
        cells["path"]: cells
        for cells in read_table(root / "validated.tsv", ("client_id", "path", "sentence"))
    }
    table = root / f"covost_v2.{source}_{target}.tsv"
    utterances: list[FolderUtterance] = []
    missing = 0
    for number, cells in enumerate(read_table(table, ("path", "translation", "split")), start=2):
        # The training part grew over Common Voice's own: those rows are marked train_covost.
        split = _split(table, number, cells["split"].removesuffix("_covost"))
        name = cells["path"]
        if name not in spoken:
            continue
        path = root / "clips" / _plain_name(table, number, name)
        if not path.is_file():
            missing += 1
            continue
        utterances.append(
            FolderUtterance(
                id=file_id(Path(name).stem),
                split=split,
                path=path,
                speaker=spoken[name]["client_id"],
                src_text=collapse_spaces(spoken[name]["sentence"]),
                tgt_text=collapse_spaces(cells["translation"]),
            )
        )
    return _present(utterances, missing, root / "clips")


def read_cvss_c(root: Path, covost2: Path, source: str) -> list[FolderUtterance]:
    """Utterances of CVSS-C in ``root`` with their source speech in the CoVoST 2 folder.

    The translations are CVSS's normalised ones, the splits its own files. Raises `DataError`.
    """
    spoken = {each.path.name: each for each in read_covost2(covost2, source, "en")}
    utterances: list[FolderUtterance] = []
    missing = 0
    for split in SPLITS:
        table = root / f"{split}.tsv"
        for number, cells in enumerate(read_cells(table), start=1):
            if len(cells) != 2:
                raise DataError(f"{table}:{number} has {len(cells)} fields, expected 2")
            name, translation = cells
            audio = root / split / f"{_plain_name(table, number, name)}.wav"
            if name not in spoken or not audio.is_file():
                missing += 1
                continue
            utterances.append(
                replace(
                    spoken[name],
                    split=split,
                    tgt_text=collapse_spaces(translation),
                    target_audio=audio,
                )
            )
    return _present(utterances, missing, root)


def read_must_c(
    root: Path, target: str, splits: Mapping[str, Split] = MUST_C_SPLITS
) -> list[FolderUtterance]:
    """Segments of MuST-C's talks, by talk and time within a split.

    ``splits`` maps MuST-C's names to ours. Segments without text on one side are left out. Raises
    `DataError` when lists differ in length, or a talk is missing.
    """
    utterances: list[FolderUtterance] = []
    for name, split in splits.items():
        folder = root / f"en-{target}" / "data" / name
        segments = _segments(folder / "txt" / f"{name}.yaml")
        english = _lines(folder / "txt" / f"{name}.en", len(segments))
        translated = _lines(folder / "txt" / f"{name}.{target}", len(segments))
        talks: dict[str, list[FolderUtterance]] = defaultdict(list)
        for segment, src_text, tgt_text in zip(segments, english, translated, strict=True):
            talk = str(segment["wav"])
            path = folder / "wav" / talk
            if Path(talk).name != talk or not path.is_file():
                raise DataError(f"{folder / 'txt'} names the talk {path}, which is not there")
            talks[talk].append(
                FolderUtterance(
                    id="",
                    split=split,
                    path=path,
                    speaker=str(segment.get("speaker_id", "")),
                    src_text=collapse_spaces(src_text),
                    tgt_text=collapse_spaces(tgt_text),
                    start=float(segment["offset"]),
                    seconds=float(segment["duration"]),
                )
            )
        for talk in sorted(talks):
            ordered = sorted(talks[talk], key=lambda each: each.start)
            utterances += [
                replace(each, id=file_id(f"{Path(talk).stem}_{number}"))
                for number, each in enumerate(ordered)
                if each.src_text and each.tgt_text
            ]
    return utterances


def _segments(path: Path) -> list[dict[str, Any]]:
    # The C loader is ten times as fast; the training list has a quarter of a million lines.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"cannot read the segments {path}: {error}") from error
    segments = content if isinstance(content, list) else []
    for number, segment in enumerate(segments):
        if not isinstance(segment, dict) or not {"wav", "offset", "duration"} <= segment.keys():
            raise DataError(
                f"{path}: segment {number} is {segment!r}; expected wav, offset and duration"
            )
    if not segments:
        raise DataError(f"{path} holds no list of segments")
    return segments


def _lines(path: Path, count: int) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the texts {path}: {error}") from error
    lines = lines[:-1] if lines[-1] == "" else lines
    if len(lines) != count:
        raise DataError(f"{path} has {len(lines)} lines, expected {count}, one per segment")
    return lines


def _split(path: Path, number: int, name: str) -> Split:
    for split in SPLITS:
        if name == split:
            return split
    raise DataError(f"{path}:{number}: split {name!r}, expected one of {SPLITS}")


def _plain_name(path: Path, number: int, name: str) -> str:
    if Path(name).name != name:
        raise DataError(f"{path}:{number}: {name!r} is not the name of a file in the folder")
    return name


def _present(
    utterances: Sequence[FolderUtterance], missing: int, folder: Path
) -> list[FolderUtterance]:
    if not utterances:
        raise DataError(
            f"{folder} holds none of the {missing} recordings that its tables name; "
            "unpack the corpus there"
        )
    if missing:
        logger.warning("%s lacks %d recordings that its tables name", folder, missing)
    return list(utterances)
