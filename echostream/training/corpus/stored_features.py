"""A corpus as feature frames, made once: for training where the GPU outruns the processors.

Each recording of the training part is stored in several copies, the first as it is and each other
augmented in its own way, and the other parts once. Training then only reads, and ``--augment`` has
nothing left to do.

    manifest.tsv             rows whose audio is archive.zip:offset:length
    features/CORPUS-KEY.zip  frames of some recordings, [T, 80] float16 as .npy, not compressed

Symbols: ``T`` feature frames (100 Hz).
"""

import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echostream.config import AudioConfig, SystemConfig
from echostream.constants import FRAME_SHIFT_SAMPLES, SAMPLE_RATE
from echostream.errors import ConfigError, DataError
from echostream.scale import run_all
from echostream.training.corpus.conversion import disk_errors, progress
from echostream.training.corpus.manifest import ManifestRow, read_manifest, write_manifest
from echostream.training.corpus.utterances import utterance_of
from echostream.training.features import FeatureReader, augmentation, read_recording
from echostream.training.preparation import make_front_end
from echostream.whole_file import replacing

FEATURES = "features"  # folder of the archives
RECORDINGS = 64  # in an archive: little to lose, and few files


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
    folder: Path, output: Path, options: StoringOptions, jobs: int = 1, ray: str | None = None
) -> list[ManifestRow]:
    """Write the archives and the manifest; the archives that an earlier run finished are kept.

    ``jobs`` are processes, ``ray`` a cluster to use instead (:func:`echostream.scale.run_all`).
    Gives the rows of the new manifest: copy ``k`` of a recording has ``@k`` behind its id. Raises
    `DataError` or `AudioFormatError` if the folder cannot be read or the output not be written.
    """
    if output.resolve() == folder.resolve():
        raise DataError(f"the manifest of {folder} would be overwritten; name another --output")
    rows = read_manifest(folder / "manifest.tsv")
    with disk_errors(output):
        blocks = [
            (output / FEATURES / f"{corpus}-{_key(block, options)}.zip", block)
            for corpus, block in _blocks(rows)
        ]
        missing = [(archive, block) for archive, block in blocks if not archive.is_file()]
        # Closed at once where something fails, or the workers would go on until the end.
        with closing(run_all(_Storing(folder, options), missing, jobs=jobs, ray=ray)) as done:
            for _ in progress(done, len(missing), "features", "archive"):
                pass
        stored = [
            row for archive, block in blocks for row in _rows_of(archive, output, block, options)
        ]
        write_manifest(output / "manifest.tsv", stored)
    return stored


def _blocks(rows: Sequence[ManifestRow]) -> Iterator[tuple[str, list[ManifestRow]]]:
    """The rows of each archive, with the name of their corpus."""
    for corpus in dict.fromkeys(row.corpus for row in rows):
        own = [row for row in rows if row.corpus == corpus]
        for start in range(0, len(own), RECORDINGS):
            yield corpus, own[start : start + RECORDINGS]


def _key(rows: Sequence[ManifestRow], options: StoringOptions) -> str:
    """Names what an archive was made from."""
    content = json.dumps([[astuple(row) for row in rows], astuple(options)], default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _copies(row: ManifestRow, options: StoringOptions) -> range:
    return range(options.copies if row.split == "train" else 1)


def _name(recording: ManifestRow, copy: int) -> str:
    return f"{recording.split}/{recording.id}@{copy}.npy"


@dataclass(frozen=True)
class _Storing:
    """Writes an archive."""

    folder: Path
    options: StoringOptions

    def start(self) -> Callable[[tuple[Path, list[ManifestRow]]], None]:
        front_end = make_front_end(SystemConfig(audio=self.options.audio))
        augment = augmentation(self.options.augment)
        reader = FeatureReader(front_end, None, augment, self.options.seed)

        def work(task: tuple[Path, list[ManifestRow]]) -> None:
            archive, rows = task
            if read_recording(utterance_of(rows[0], self.folder))[0] is None:
                raise DataError(
                    f"{self.folder} holds feature frames, which cannot be augmented; expected "
                    "recordings: name the folder that they were made from"
                )
            with (
                replacing(archive) as part,
                zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as entries,
            ):
                for row in rows:
                    utterance = utterance_of(row, self.folder)
                    for copy in _copies(row, self.options):
                        features = reader(utterance, copy, augmented=copy > 0)
                        # With a date of its own the same archive is the same file.
                        entries.writestr(zipfile.ZipInfo(_name(row, copy)), _coded(features))

        return work


def _coded(features: NDArray[np.float32]) -> bytes:
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
