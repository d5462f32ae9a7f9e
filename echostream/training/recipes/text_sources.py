"""Where parallel sentences come from: Debian packages with translated messages.

`fetch_texts` downloads and unpacks only what is read, cleans it and leaves ``texts.tsv`` and the
packages' notices in the output folder; a second call with the same sources reads the file.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from echostream.errors import DataError
from echostream.training.corpus.conversion import progress
from echostream.training.corpus.manifest import ManifestRow
from echostream.training.recipes.apt import archive_path, describe, download, unpack
from echostream.training.recipes.catalogue import read_catalogue
from echostream.training.recipes.packages import copy_notices, notices_of
from echostream.training.recipes.parallel_text import (
    SentencePair,
    clean_pairs,
    read_texts,
    sentence_pair,
    unique,
    without_crossings,
    write_texts,
)
from echostream.whole_file import write_whole

logger = logging.getLogger(__name__)

TEXTS = "texts.tsv"
RULES = 1
"""Raised when cleaning changes what it lets through: texts of other rules are made again."""


@dataclass(frozen=True)
class TextSource:
    """Packages whose message catalogues hold English originals and their translations.

    ``member`` is the pattern of a catalogue's path in which ``{language}`` stands for the code.
    """

    name: str
    packages: tuple[str, ...]
    member: str
    licence: str
    attribution: str

    def is_catalogue(self, member: str, language: str) -> bool:
        """Whether the package member holds translations into the language."""
        return re.fullmatch(self.member.replace("{language}", language), member) is not None


WESNOTH_CAMPAIGNS = (
    *("did", "dm", "dw", "ei", "httt", "l", "low", "nr"),
    *("sof", "sota", "sotbe", "thot", "trow", "tsg", "ttb", "utbs"),
)

TEXT_SOURCES = {
    source.name: source
    for source in (
        TextSource(
            name="wesnoth",
            packages=tuple(f"wesnoth-1.16-{campaign}" for campaign in WESNOTH_CAMPAIGNS),
            member=r"usr/share/games/wesnoth/1\.16/locale/{language}/LC_MESSAGES/wesnoth-\w+\.mo",
            licence="GPL-2.0-or-later",
            attribution=(
                "The Battle for Wesnoth, texts of 16 campaigns and their translations. "
                "Copyright 2003-2023 David White and the Battle for Wesnoth project."
            ),
        ),
        TextSource(
            name="freedroidrpg",
            packages=("freedroidrpg-data",),
            member=r"usr/share/locale/{language}/LC_MESSAGES/freedroidrpg[\w-]*\.mo",
            licence="GPL-2.0-or-later",
            attribution=(
                "FreedroidRPG, texts and their translations. "
                "Copyright 2002-2019 Johannes Prix, Reinhard Prix and the FreedroidRPG team."
            ),
        ),
    )
}


def choose_sources(names: Sequence[str]) -> list[TextSource]:
    """The sources with these names. Raises `DataError`."""
    unknown = [name for name in names if name not in TEXT_SOURCES]
    if unknown or not names:
        raise DataError(
            f"there is no text source {', '.join(unknown) or '(none named)'}; "
            f"expected some of: {', '.join(TEXT_SOURCES)}"
        )
    return [TEXT_SOURCES[name] for name in dict.fromkeys(names)]


def fetch_texts(
    sources: Sequence[TextSource],
    language: str,
    human: Sequence[ManifestRow],
    output: Path,
    work: Path,
    *,
    keep_packages: bool = False,
) -> list[SentencePair]:
    """The sentence pairs of English and ``language`` that may be spoken. Raises `DataError`.

    Texts of the ``human`` recordings on another side of the split are left out each time, so
    recordings that were made since the texts were count too.
    """
    # One source after the other, so that asking for one more only fetches that one.
    found: list[SentencePair] = []
    for source in sources:
        found += _texts_of(source, language, output, work, keep_packages)
    pairs = without_crossings(unique(found), human)
    write_texts(output / TEXTS, pairs)
    return pairs


def _texts_of(
    source: TextSource, language: str, output: Path, work: Path, keep_packages: bool
) -> list[SentencePair]:
    folder = output / "texts"
    table, record = folder / f"{source.name}.tsv", folder / f"{source.name}.json"
    made_by = {"rules": RULES, "language": language}
    if table.is_file() and record.is_file():
        earlier = json.loads(record.read_text(encoding="utf-8"))
        if {key: earlier.get(key) for key in made_by} == made_by:
            return read_texts(table)
    packages = [describe(name) for name in source.packages]
    megabytes = sum(package.size for package in packages) / 1e6
    pairs: list[SentencePair] = []
    unpacked = work / "unpacked" / f"texts.{source.name}.{language}"
    title = f"fetch texts of {source.name} ({megabytes:.0f} MB)"
    for package in progress(packages, len(packages), title, "package"):
        archive = download(package, work / "packages")
        root = unpacked / f"{package.name}-{package.sha256[:12]}"
        unpack(archive, root, _wanted(source, package.name, language))
        copy_notices({package.name: root}, output / "licences")
        for path in sorted(root.rglob("*.mo")):
            pairs += pairs_of_catalogue(path, source)
    if not pairs:
        raise DataError(
            f"the packages of {source.name} hold no usable translation into {language!r}; "
            f"expected catalogues that match {source.member!r}: name other --texts"
        )
    kept = unique(pairs)
    write_texts(table, kept)
    checksums = {package.name: package.sha256 for package in packages}
    write_whole(record, json.dumps({**made_by, "packages": checksums}, indent=2) + "\n")
    if not keep_packages:
        # Only now: a run that is stopped before finds its packages again.
        shutil.rmtree(unpacked)
        for package in packages:
            archive_path(work / "packages", package.name).unlink(missing_ok=True)
    logger.info("%s: %d sentence pairs", source.name, len(kept))
    return kept


def _wanted(source: TextSource, package: str, language: str) -> Callable[[str], bool]:
    notices = notices_of(package)
    return lambda member: member in notices or source.is_catalogue(member, language)


def pairs_of_catalogue(path: Path, source: TextSource) -> list[SentencePair]:
    """The clean sentence pairs of one catalogue; ``context^text`` is Wesnoth's way to tell apart
    equal originals, of which the text alone is shown."""
    return [
        sentence_pair(source.name, source.licence, english, other)
        for message in read_catalogue(path)
        for english, other in clean_pairs(
            message.original.partition("^")[2] or message.original, message.translation
        )
    ]
