"""A copy of a corpus folder with its recordings as Ogg Opus, small enough to carry.

Speech at 24 kbit/s takes about a sixth of the space of FLAC. The tables are made anew, everything
else of the folder (texts, notices, what the recipe has recorded) is copied as it is, so a recipe
goes on in the copy as it would in the original.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path, PurePosixPath

import soundfile

from echostream.audio import read_audio
from echostream.constants import SAMPLE_RATE
from echostream.errors import ConfigError, DataError
from echostream.training.corpus.conversion import disk_errors, in_parallel
from echostream.training.corpus.manifest import MANIFEST, ManifestRow, read_manifest, write_tables
from echostream.training.corpus.split import SPLITS
from echostream.whole_file import read_back, replacing, write_whole

LOWEST_KBPS, HIGHEST_KBPS = 6.0, 256.0
"""What Opus can be asked for, for one channel."""
_RATE = "opus.json"  # tells the rate of a copy, also of one that was stopped
_TABLES = (MANIFEST, *(f"{split}.tsv" for split in SPLITS))
"""Made anew, and last: a copy that was stopped has none, or rows without recordings."""


def copy_as_opus(
    folder: Path, output: Path, kbps: float = 24.0, jobs: int = 1
) -> list[ManifestRow]:
    """Write the copy of a folder with ``manifest.tsv``; recordings that are there are kept.

    ``kbps`` is the rate in kbit/s, 6 to 256, around which Opus varies. Gives the rows of the
    copy's manifest.

    Raises:
        ConfigError: for a rate that Opus does not have.
        DataError, AudioFormatError: if the folder cannot be read or the copy not be written, or an
            earlier run wrote recordings at another rate.
    """
    if not LOWEST_KBPS <= kbps <= HIGHEST_KBPS:
        raise ConfigError(
            f"kbps is {kbps:g}; expected {LOWEST_KBPS:g} to {HIGHEST_KBPS:g}, for speech about 24"
        )
    if output.resolve().is_relative_to(folder.resolve()):
        raise DataError(
            f"the copy of {folder} would overwrite it or lie in it; name another --output"
        )
    rows = read_manifest(folder / MANIFEST)
    copies = [replace(row, audio=str(PurePosixPath(row.audio).with_suffix(".ogg"))) for row in rows]

    def code(pair: tuple[ManifestRow, ManifestRow]) -> None:
        _copy(folder / pair[0].audio, output / pair[1].audio, kbps)

    with disk_errors(output):
        record = output / _RATE
        earlier = read_back(record, "kbps")["kbps"] if record.exists() else kbps
        if earlier != kbps:
            raise DataError(
                f"{output} has recordings at {earlier:g} kbit/s, but {kbps:g} were asked for; give "
                f"--kbps {earlier:g} to go on with it, or name another --output"
            )
        write_whole(record, json.dumps({"kbps": kbps}) + "\n")
        left_out = shutil.ignore_patterns(_RATE, "audio", "lists", "work", ".*", *_TABLES)
        shutil.copytree(folder, output, ignore=left_out, dirs_exist_ok=True)
        for _ in in_parallel(code, list(zip(rows, copies, strict=True)), jobs, "code", "clip"):
            pass
        write_tables(output, copies)
    return copies


def _copy(source: Path, target: Path, kbps: float) -> None:
    if target.is_file():
        return
    samples, rate = read_audio(source)
    if rate != SAMPLE_RATE:
        raise DataError(
            f"{source} has {rate} Hz; expected {SAMPLE_RATE}, as `echostream data` and `echostream "
            "corpus import` write it"
        )
    # libsndfile's scale: 0 is the highest rate, 1 the lowest, linear in between.
    level = (HIGHEST_KBPS - kbps) / (HIGHEST_KBPS - LOWEST_KBPS)
    with replacing(target) as part:
        soundfile.write(part, samples, rate, format="OGG", subtype="OPUS", compression_level=level)
