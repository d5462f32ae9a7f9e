"""The folders of CoVoST 2, CVSS-C and MuST-C, as they are after unpacking.

CoVoST 2 (arXiv 2007.10310), one folder a language with Common Voice 4 inside::

    validated.tsv                     client_id path sentence ...
    covost_v2.<source>_<target>.tsv   path translation split
    clips/<path>                      MP3

CVSS-C (arXiv 2201.03713), spoken English translations of CoVoST 2, beside that folder::

    {train,dev,test}.tsv              path, normalised translation; no header

MuST-C (NAACL 2019), English talks::

    en-<target>/data/<split>/wav/*.wav
    en-<target>/data/<split>/txt/<split>.{yaml,en,<target>}   one segment a line

The split is the corpus's own, so that results can be compared with published ones. Therefore dev
and test are read whole or not at all, whatever their texts are.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from echostream.errors import DataError
from echostream.text import read_lines
from echostream.training.corpus.clip import Clip, collapse_spaces, file_id
from echostream.training.corpus.split import SPLITS, Split
from echostream.training.corpus.tab_separated import check_fields, read_table

logger = logging.getLogger(__name__)

MUST_C_SPLITS: Mapping[Split, str] = {"train": "train", "dev": "dev", "test": "tst-COMMON"}
"""MuST-C's names of our splits; tst-HE can be named instead of tst-COMMON."""
_SPOKEN = ("client_id", "path", "sentence")
_ABOUT_THE_READER = (
    *("up_votes", "down_votes", "age", "gender", "accent", "accents", "locale", "variant"),
    "segment",
)
_SEGMENT = ("wav", "offset", "duration")
_COUNTS = ("speaker_id", "rW", "rC", "uW", "uC")


def read_covost2(
    root: Path, source: str, target: str, splits: Sequence[Split] = SPLITS
) -> list[Clip]:
    """Clips of CoVoST 2 in the folder of the source language, in the table's order.

    Training clips that are not there are left out with a warning, since Common Voice withdraws
    some. Raises `DataError` when a table is missing or damaged, or a clip of dev or test is not
    there.
    """
    # Both tables were written by pandas with backslashes before quotes and backslashes.
    table = read_table(root / "validated.tsv", _SPOKEN, escapes=True)
    for _, cells in table[:1]:
        check_fields(root / "validated.tsv", cells, (*_SPOKEN, *_ABOUT_THE_READER))
    spoken = {cells["path"]: cells for _, cells in table}
    path = root / f"covost_v2.{source}_{target}.tsv"
    columns = ("path", "translation", "split")
    clips: list[Clip] = []
    missing: list[tuple[str, str]] = []
    for number, cells in read_table(path, columns, escapes=True):
        # The training part grew over Common Voice's own: those rows are marked train_covost.
        split, name = cells["split"].removesuffix("_covost"), cells["path"]
        if split not in SPLITS:
            raise DataError(f"{path}:{number}: split {split!r}, expected one of {SPLITS}")
        if split not in splits:
            continue
        audio = root / "clips" / _plain_name(path, number, name)
        if name not in spoken or not audio.is_file():
            missing.append((split, name))
            continue
        clips.append(
            Clip(
                id=file_id(Path(name).stem),
                path=audio,
                seconds=None,
                speaker=spoken[name]["client_id"],
                src_text=collapse_spaces(spoken[name]["sentence"]),
                tgt_text=collapse_spaces(cells["translation"]),
                corpus="covost2",
                split=split,
                src_lang=source,
                tgt_lang=target,
                licence="CC0-1.0",
            )
        )
    _check_missing(clips, missing, root)
    return clips


def read_cvss_c(
    root: Path, covost2: Path, source: str, splits: Sequence[Split] = SPLITS
) -> list[Clip]:
    """Clips of CVSS-C in ``root`` with their source speech in the CoVoST 2 folder.

    The translations are CVSS's normalised ones, the splits its own files; its speech is not read.
    Raises `DataError`.
    """
    # CVSS has moved no clip to another part, so only the parts asked for need be there.
    spoken = {clip.path.name: clip for clip in read_covost2(covost2, source, "en", splits)}
    clips: list[Clip] = []
    missing: list[tuple[str, str]] = []
    for split in splits:
        path = root / f"{split}.tsv"
        for number, line in enumerate(read_lines(path, "table"), start=1):
            name, tab, translation = line.partition("\t")
            if not tab or "\t" in translation:
                raise DataError(f"{path}:{number} is {line!r}; expected 2 fields")
            if _plain_name(path, number, name) not in spoken:
                missing.append((split, name))
                continue
            clip = replace(spoken[name], split=split, tgt_text=collapse_spaces(translation))
            clips.append(replace(clip, corpus="cvss-c", licence="CC-BY-4.0"))
    _check_missing(clips, missing, root)
    return clips


def read_must_c(
    root: Path, target: str, splits: Sequence[Split] = SPLITS, test: str = "tst-COMMON"
) -> list[Clip]:
    """Segments of MuST-C's talks, by talk and time within a split; ``test`` is its name of ours.

    Parts that are not unpacked are left out with a warning. Raises `DataError` when no part is
    there, lists differ in length, or a talk is missing.
    """
    clips: list[Clip] = []
    data = root / f"en-{target}" / "data"
    names = {split: {**MUST_C_SPLITS, "test": test}[split] for split in splits}
    there = {split: name for split, name in names.items() if (data / name).is_dir()}
    if not there:
        raise DataError(f"{data} holds none of {', '.join(names.values())}; unpack MuST-C there")
    if len(there) < len(names):
        logger.warning("%s holds only %s", data, ", ".join(there.values()))
    for split, name in there.items():
        text, wav = data / name / "txt", data / name / "wav"
        segments = _segments(text / f"{name}.yaml")
        texts = [read_lines(text / f"{name}.{language}", "texts") for language in ("en", target)]
        for language, lines in zip(("en", target), texts, strict=True):
            if len(lines) != len(segments):
                raise DataError(
                    f"{text}/{name}.{language} has {len(lines)} lines, expected {len(segments)}, "
                    "one per segment"
                )
        talks: dict[str, list[Clip]] = defaultdict(list)
        for segment, src_text, tgt_text in zip(segments, *texts, strict=True):
            talk = str(segment["wav"])
            if Path(talk).name != talk or not (wav / talk).is_file():
                raise DataError(f"{text} names the talk {wav / talk}, which is not there")
            talks[talk].append(
                Clip(
                    id="",
                    path=wav / talk,
                    seconds=float(segment["duration"]),
                    speaker=str(segment.get("speaker_id", "")),
                    src_text=collapse_spaces(src_text),
                    tgt_text=collapse_spaces(tgt_text),
                    corpus="must-c",
                    split=split,
                    src_lang="en",
                    tgt_lang=target,
                    licence="CC-BY-NC-ND-4.0",
                    start=float(segment["offset"]),
                )
            )
        for talk in sorted(talks):
            ordered = sorted(talks[talk], key=lambda clip: clip.start)
            stem = Path(talk).stem
            clips += [replace(clip, id=file_id(f"{stem}_{n}")) for n, clip in enumerate(ordered)]
    return clips


def _segments(path: Path) -> list[dict[str, Any]]:
    # The C loader is ten times as fast; the training list has a quarter of a million lines.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        segments = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"cannot read the segments {path}: {error}") from error
    if not isinstance(segments, list):
        raise DataError(f"{path} holds no list of segments")
    fields: set[str] = set()
    for number, segment in enumerate(segments):
        if not isinstance(segment, dict) or not set(_SEGMENT) <= segment.keys():
            raise DataError(
                f"{path}: segment {number} is {segment!r}; expected wav, offset and duration"
            )
        fields |= segment.keys()
    check_fields(path, fields, (*_SEGMENT, *_COUNTS))
    return segments


def _plain_name(path: Path, number: int, name: str) -> str:
    if Path(name).name != name:
        raise DataError(f"{path}:{number}: {name!r} is not the name of a file in the folder")
    return name


def _check_missing(clips: Sequence[Clip], missing: Sequence[tuple[str, str]], folder: Path) -> None:
    if not clips:
        raise DataError(
            f"{folder} holds none of the {len(missing)} recordings that its tables name; "
            "unpack the corpus there"
        )
    measured = [(split, name) for split, name in missing if split != "train"]
    if measured:
        split, name = measured[0]
        raise DataError(
            f"{folder} lacks {len(measured)} recordings of dev and test, the first is {name} of "
            f"{split}; results on a part of a part cannot be compared: unpack them, or leave the "
            "part out with --splits"
        )
    if missing:
        logger.warning("%s lacks %d recordings that its tables name", folder, len(missing))
