"""Miniature packages in the layouts that the readers know, built from their descriptions."""

import gzip
import hashlib
import io
import struct
import tarfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import G722
import numpy as np
import soundfile
from numpy.typing import NDArray

from echostream.training.corpus.manifest import ManifestRow
from echostream.training.recipes.asterisk import Asterisk
from echostream.training.recipes.drascula import Drascula
from echostream.training.recipes.recipe import Recipe
from echostream.training.recipes.tuxpaint import Tuxpaint

VOICE = "es_MX_f_Allison"
SOUNDS = f"usr/share/asterisk/sounds/{VOICE}"
STAMPS = "usr/share/tuxpaint/stamps"
GAME = "usr/share/scummvm/drascula"
TABLES = (
    *("text", "textd", "textb", "textbj", "texte", "texti", "textl", "textp", "textt", "textvb"),
    *("textsys", "texthis", "textverbs", "textmisc", "textd1"),
)


def tone(seconds: float, sample_rate: int, hertz: float = 440.0) -> NDArray[np.float32]:
    """A sine of amplitude 0.5."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    return (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def g722(samples: NDArray[np.float32]) -> bytes:
    """16 kHz samples coded at 64 kbit/s."""
    return bytes(G722.G722(16_000, 64_000).encode((samples * 32767).astype(np.int16)))


def ogg(samples: NDArray[np.float32], sample_rate: int) -> bytes:
    """Ogg Vorbis, mono or stereo."""
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, format="OGG", subtype="VORBIS")
    return file.getvalue()


def als(samples: NDArray[np.float32]) -> bytes:
    """Unsigned 8-bit samples between 32 bytes of something else at each end."""
    body = np.clip(np.round(samples * 128 + 128), 0, 255).astype(np.uint8).tobytes()
    return b"\x00" * 32 + body + b"\xff" * 32


def drascula_dat(texts: Mapping[tuple[str, str], Sequence[str]]) -> bytes:
    """drascula.dat in six languages; strings that are not given are empty."""
    data = b"DRASCULA\x06"
    for number, size in enumerate((4, 4, 4, 2, 4, 2, 4, 2, 2, 20, 20, 10, 8)):
        data += struct.pack(">H", number) + bytes(number * size)
    data += struct.pack(">H", 6)
    for table in TABLES:
        count = max([len(strings) for (name, _), strings in texts.items() if name == table] or [2])
        data += struct.pack(">H", count)
        for language in ("en", "es", "de", "fr", "it", "ru"):
            strings = list(texts.get((table, language), ()))
            block = b"\0\0"
            for text in strings + [""] * (count - len(strings)):
                record = text.encode("cp850") + b"\0"
                record += b"\0" * (-(len(record) + 2) % 4)
                block += struct.pack(">H", len(record) + 2) + record
            data += struct.pack(">H", len(block)) + block
    return data


def mo(messages: Mapping[str, str], order: str = "<") -> bytes:
    """A gettext catalogue in either byte order; "" is the header's key."""
    entries = {"": "Content-Type: text/plain; charset=UTF-8\n", **messages}
    pairs = sorted((key.encode(), value.encode()) for key, value in entries.items())
    start = 28 + 16 * len(pairs)
    body, tables = b"", []
    for column in (0, 1):
        for pair in pairs:
            tables += [len(pair[column]), start + len(body)]
            body += pair[column] + b"\0"
    head = (0x950412DE, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, 0)
    return struct.pack(f"{order}7I", *head) + struct.pack(f"{order}{len(tables)}I", *tables) + body


def asterisk_texts(spanish: str, english: str) -> dict[str, dict[str, bytes]]:
    """Files of the two packages with Asterisk's transcripts."""
    packages = {}
    for language, lines in (("es", spanish), ("en", english)):
        package = f"asterisk-core-sounds-{language}"
        path = f"usr/share/doc/{package}/core-sounds-{language}.txt.gz"
        packages[package] = {path: gzip.compress(lines.encode("utf-8"))}
    return packages


def write_tree(root: Path, files: Mapping[str, bytes]) -> Path:
    """The files under ``root``, as an unpacked package."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def file_member(name: str, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
    """A regular file for `deb`."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    return member, content


def link_member(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    """A symbolic link for `deb`."""
    member = tarfile.TarInfo(name)
    member.type = tarfile.SYMTYPE
    member.linkname = target
    return member, b""


def deb(members: Sequence[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """A .deb: an ar archive of three members, the last of them the files."""

    def tar(entries: Sequence[tuple[tarfile.TarInfo, bytes]]) -> bytes:
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as archive:
            for member, content in entries:
                archive.addfile(member, io.BytesIO(content))
        return file.getvalue()

    control = tar([file_member("./control", b"Package: made-up\nVersion: 1\n")])
    result = b"!<arch>\n"
    parts = (("debian-binary", b"2.0\n"), ("control.tar", control), ("data.tar", tar(members)))
    for name, content in parts:
        header = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        result += header + content + b"\n" * (len(content) % 2)
    return result


def tree_deb(files: Mapping[str, bytes]) -> bytes:
    """A .deb of regular files."""
    return deb([file_member(f"./{name}", content) for name, content in files.items()])


class Archive:
    """A made-up package source with the programs apt-get and apt-cache that serve it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.packages = folder / "packages"
        self.programs = folder / "programs"
        self.index = folder / "index"
        for each in (self.packages, self.programs, self.index):
            each.mkdir(parents=True)

    def add(self, name: str, content: bytes, version: str = "1.0-1", sha256: str = "") -> None:
        """Publishes a package; another ``sha256`` than the content's is a planted fault."""
        (self.packages / f"{name}.deb").write_bytes(content)
        entry = {
            "Package": name,
            "Version": version,
            "Size": str(len(content)),
            "Description": "made up\n Version: 9 is only part of the description",
            "SHA256": sha256 or hashlib.sha256(content).hexdigest(),
        }
        (self.index / name).write_text("".join(f"{k}: {v}\n" for k, v in entry.items()))

    def fail(self, message: str) -> None:
        """What apt-get says from now on instead of downloading; with nothing to say it does."""
        (self.folder / "failure").write_text(message)

    @property
    def downloads(self) -> list[str]:
        """What apt-get was asked for so far, as ``name=version``."""
        log = self.folder / "log"
        return log.read_text().split() if log.exists() else []


PROGRAM = """#!/bin/sh
# Not in Python, which would take most of these tests' time to start.
folder='{folder}'
for last; do :; done
name=${{last%%=*}}
case $0 in
*apt-cache)
    [ -f "$folder/index/$name" ] || {{ echo "E: No packages found" >&2; exit 1; }}
    exec cat "$folder/index/$name" ;;
esac
echo "$last" >> "$folder/log"
if [ -s "$folder/failure" ]; then cat "$folder/failure" >&2; exit 1; fi
grep -qx "Version: ${{last#*=}}" "$folder/index/$name" || exit 2
exec cp "$folder/packages/$name.deb" "${{name}}_${{last#*=}}_all.deb"
"""
"""apt-get and apt-cache, by their names; ``folder`` is that of an :class:`Archive`."""


ASTERISK_SEED = (
    ("agent-pass", "Por favor: ingrese su clave", "Welcome", 1.5),
    ("digits/1", "uno", "one", 0.6),
    ("conf-locked", "Bloqueada", "The conference is now locked!", 1.0),
    ("auth-thankyou", "Gracias", "Thank you.", 0.8),
    ("vm-red", "rojo", "Red", 0.7),
)


@cache
def asterisk_packages() -> dict[str, bytes]:
    """Three packages with two train, one dev and two test prompts, and four to leave out."""
    sounds = {f"{SOUNDS}/{name}.g722": g722(tone(s, 16_000)) for name, _, _, s in ASTERISK_SEED}
    sounds[f"{SOUNDS}/silence/1.g722"] = g722(np.zeros(16_000, np.float32))
    sounds[f"{SOUNDS}/beep.g722"] = g722(tone(0.4, 16_000, 1000))
    sounds[f"{SOUNDS}/no-english.g722"] = g722(tone(0.9, 16_000))
    sounds["usr/share/doc/asterisk-core-sounds-es-g722/copyright"] = b"CC-BY-SA-3.0\n"
    head = "; made up\n\nbeep: [tone]\nsilence/1: (1 second of silence)\n"
    spanish, english = (
        head + "".join(f"{entry[0]}: {entry[column]}\n" for entry in ASTERISK_SEED)
        for column in (1, 2)
    )
    lists = asterisk_texts(spanish + "digits/1: una\nno-english: sin ingles\n", english)
    packages = {"asterisk-core-sounds-es-g722": sounds, **lists}
    return {name: tree_deb(files) for name, files in packages.items()}


@cache
def tuxpaint_packages() -> dict[str, bytes]:
    """Four stamps, two of which share a recording: one train, one dev, one test."""
    files = {}
    stamps = (
        ("animals/yes", "Yes.", "Sí.", 300.0),
        ("animals/yes_again", "Yes, again.", "Sí.", 300.0),
        ("birds/red", "Red.", "Rojo.", 500.0),
        ("birds/thanks", "“Thank you!”", "¡Gracias!", 700.0),
    )
    for name, english, spanish, hertz in stamps:
        wave = tone(0.8, 44_100, hertz)
        files[f"{STAMPS}/{name}_desc_es.ogg"] = ogg(np.stack([wave, 0 * wave], axis=1), 44_100)
        files[f"{STAMPS}/{name}_desc_fr.ogg"] = ogg(wave, 44_100)
        files[f"{STAMPS}/{name}.txt"] = f"{english}\nfr.utf8=x\nes.utf8={spanish}\n".encode()
    # Ogg streams carry a random serial number: equal audio must be equal bytes here.
    files[f"{STAMPS}/animals/yes_again_desc_es.ogg"] = files[f"{STAMPS}/animals/yes_desc_es.ogg"]
    return {"tuxpaint-stamps-default": tree_deb(files)}


@cache
def drascula_packages() -> dict[str, bytes]:
    """Speech files in Spanish: one train, one dev, one test; the game's texts in the other."""
    texts = {
        ("text", "en"): ["", "WELCOME", "", "RED"],
        ("text", "es"): ["", "BIENVENIDO", "HOLA", "ROJO"],
        ("textvb", "en"): ["", "THANK  YOU"],
        ("textvb", "es"): ["", "GRACIAS, SEÑOR"],
    }
    speech = {
        f"{GAME}/es/{name}.ALS": als(tone(1.0, 11_025))
        for name in ("1", "2", "3", "VB1", "S1", "9")
    }
    members = [file_member(f"./{name}", content) for name, content in speech.items()]
    members.append(link_member(f"./{GAME}/es/4.ALS", "../en/4.ALS"))
    english = {
        f"{GAME}/en/drascula.dat": drascula_dat(texts),
        f"{GAME}/en/4.ALS": als(tone(1.0, 11_025)),
        "usr/share/doc/drascula/copyright": b"Drascula-License\n",
        "usr/share/doc/drascula/readme.txt": b"readme\n",
    }
    return {"drascula-spanish": deb(members), "drascula": tree_deb(english)}


def text_packages(messages: Mapping[str, str]) -> dict[str, bytes]:
    """The package of freedroidrpg's texts with these messages, beside what is not to be read."""
    catalogues = "usr/share/locale"
    files = {
        f"{catalogues}/es/LC_MESSAGES/freedroidrpg-dialogs.mo": mo(messages),
        f"{catalogues}/es/LC_MESSAGES/other.mo": b"not a catalogue",
        f"{catalogues}/de/LC_MESSAGES/freedroidrpg.mo": mo({"Not this one here": "Dies nicht"}),
        "usr/share/doc/freedroidrpg-data/copyright": b"GPL-2+\n",
        "usr/share/freedroidrpg/big.png": b"x" * 1000,
    }
    return {"freedroidrpg-data": tree_deb(files)}


def mini_recipe() -> Recipe:
    """The three corpora with the counts of the packages above."""
    counts = {Asterisk: (2, 1, 2), Tuxpaint: (1, 1, 1), Drascula: (1, 1, 1)}
    corpora = tuple(corpus("es", "en", sizes) for corpus, sizes in counts.items())
    return Recipe("es-en", "es", "en", corpora)


def names(rows: list[ManifestRow]) -> list[str]:
    """``corpus/id/split`` of each row."""
    return [f"{row.corpus}/{row.id}/{row.split}" for row in rows]


EXPECTED = [
    *("asterisk/agent-pass/train", "asterisk/auth-thankyou/test", "asterisk/conf-locked/test"),
    *("asterisk/digits_1/train", "asterisk/vm-red/dev", "tuxpaint/animals_yes/train"),
    *("tuxpaint/birds_red/dev", "tuxpaint/birds_thanks/test"),
    *("drascula/1/train", "drascula/3/dev", "drascula/VB1/test"),
]
