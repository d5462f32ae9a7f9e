"""A corpus as feature frames, made once: for training where the GPU outruns the processors.

Each recording of the training part is stored in several copies, the first as it is and each other
augmented in its own way, and the other parts once. Training then only reads, and ``--augment`` has
nothing left to do.

    manifest.tsv             rows whose audio is archive.zip:offset:length
    features/CORPUS-KEY.zip  the frames, [T, 80] float16 as .npy, not compressed

Symbols: ``T`` feature frames (100 Hz).
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from echostream.config import AudioConfig, SystemConfig
from echostream.constants import FRAME_SHIFT_SAMPLES, SAMPLE_RATE
from echostream.errors import ConfigError, DataError
from echostream.training.corpus.conversion import disk_errors, progress
from echostream.training.corpus.manifest import ManifestRow, read_manifest, write_manifest
from echostream.training.corpus.utterances import Utterance, utterance_of
from echostream.training.features import FeatureReader, augmentation, read_recording
from echostream.training.preparation import make_front_end
from echostream.whole_file import replacing

FEATURES = "features"  # folder of the archives


@dataclass(frozen=True)
class StoringOptions:
    """What is stored.

    ``audio`` is of the configuration that will be trained; ``copies`` of each recording of the
    training part, of which all but the first are augmented by ``augment``; ``seed`` draws them.
    """

    audio: AudioConfig
    augment: str = "speed"
    copies: int = 3
    seed: int = 1

    def __post_init__(self) -> None:
        augmentation(self.augment)
        if self.copies < 1 or (self.augment == "none" and self.copies > 1):
            raise ConfigError(
                f"copies is {self.copies}, --augment {self.augment}; expected at least 1 copy, and "
                "no more where they would all be the same"
            )


def store_features(
    folder: Path, output: Path, options: StoringOptions, jobs: int = 1
) -> list[ManifestRow]:
    """Write the archives and the manifest; the archives that an earlier run finished are kept.

    ``jobs`` are processes. Gives the rows of the new manifest: copy ``k`` of a recording has ``@k``
    behind its id. Raises `DataError` or `AudioFormatError` if the folder cannot be read or the
    output not be written.
    """
    if output.resolve() == folder.resolve():
        raise DataError(f"the manifest of {folder} would be overwritten; name another --output")
    rows = read_manifest(folder / "manifest.tsv")
    stored: list[ManifestRow] = []
    with disk_errors(output):
        for corpus in dict.fromkeys(row.corpus for row in rows):
            own = [row for row in rows if row.corpus == corpus]
            archive = output / FEATURES / f"{corpus}-{_key(own, options)}.zip"
            if not archive.is_file():
                _write_archive(archive, folder, own, options, jobs)
            stored += _rows_of(archive, output, own, options)
        write_manifest(output / "manifest.tsv", stored)
    return stored


def _key(rows: Sequence[ManifestRow], options: StoringOptions) -> str:
    """Names what an archive was made from."""
    content = json.dumps([[astuple(row) for row in rows], astuple(options)], default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _copies(row: ManifestRow, options: StoringOptions) -> range:
    return range(options.copies if row.split == "train" else 1)


def _name(recording: ManifestRow | Utterance, copy: int) -> str:
    return f"{recording.split}/{recording.id}@{copy}.npy"


def _write_archive(
    archive: Path, folder: Path, rows: Sequence[ManifestRow], options: StoringOptions, jobs: int
) -> None:
    tasks = [(utterance_of(row, folder), copy) for row in rows for copy in _copies(row, options)]
    if read_recording(tasks[0][0])[0] is None:
        raise DataError(
            f"{folder} holds feature frames, which cannot be augmented; expected recordings: name "
            "the folder that they were made from"
        )
    # Threads would wait for each other: much of augmentation is Python. And not forked: the threads
    # of torch do not survive that.
    with (
        replacing(archive) as part,
        zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as entries,
        ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool,
    ):
        made = pool.map(functools.partial(_features, options=options), tasks, chunksize=16)
        title = f"features of {rows[0].corpus}"
        for task, data in zip(tasks, progress(made, len(tasks), title, "copy"), strict=True):
            entries.writestr(_name(*task), data)


@functools.lru_cache(maxsize=1)
def _reader(options: StoringOptions) -> FeatureReader:
    front_end = make_front_end(SystemConfig(audio=options.audio))
    return FeatureReader(front_end, None, augmentation(options.augment), options.seed)


def _features(task: tuple[Utterance, int], options: StoringOptions) -> bytes:
    utterance, copy = task
    features = _reader(options)(utterance, copy, augmented=copy > 0)
    file = io.BytesIO()
    # Half precision errs by 0.4 % of a standard deviation at most.
    np.save(file, features.astype(np.float16), allow_pickle=False)
    return file.getvalue()


def _rows_of(
    archive: Path, output: Path, rows: Sequence[ManifestRow], options: StoringOptions
) -> Iterator[ManifestRow]:
    try:
        with zipfile.ZipFile(archive) as entries, archive.open("rb") as file:
            for row in rows:
                for copy in _copies(row, options):
                    info = entries.getinfo(_name(row, copy))
                    # The bytes of an entry that is not compressed come after two names.
                    file.seek(info.header_offset + 26)
                    start = info.header_offset + 30 + sum(struct.unpack("<2H", file.read(4)))
                    file.seek(start)
                    np.lib.format.read_magic(file)
                    shape, _, _ = np.lib.format.read_array_header_1_0(file)
                    samples = shape[0] * FRAME_SHIFT_SAMPLES
                    yield replace(
                        row,
                        id=f"{row.id}@{copy}",
                        audio=f"{archive.relative_to(output)}:{start}:{info.file_size}",
                        num_samples=samples,
                        seconds=round(samples / SAMPLE_RATE, 4),
                    )
    except (zipfile.BadZipFile, KeyError, ValueError, struct.error) as error:
        raise DataError(
            f"{archive} is damaged ({error}); remove it and run the command again"
        ) from error
