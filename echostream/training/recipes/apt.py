"""Debian packages as data: downloaded and checked with apt's own tools, nothing installed."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from echostream.errors import DataError
from echostream.training.corpus.disk import disk_errors, sha256_of

logger = logging.getLogger(__name__)

NO_NETWORK = (
    "Temporary failure resolving",
    "Could not resolve",
    "Could not connect",
    "Network is unreachable",
    "Connection failed",
    "Connection timed out",
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
    # Field names at the start of a line; continuation lines begin with a space.
    found: dict[str, str] = {}
    for line in result.stdout.split("\n\n")[0].splitlines():
        key, colon, value = line.partition(":")
        if colon and not line[0].isspace():
            found[key] = value.strip()
    if result.returncode != 0 or not {"Version", "Size", "SHA256"} <= found.keys():
        raise DataError(
            f"apt's lists have no package {name!r}; run `apt-get update` (as root) and try again, "
            "or add Debian's main section to the package sources"
        )
    return Package(name, found["Version"], int(found["Size"]), found["SHA256"].lower())


def archive_path(folder: Path, name: str) -> Path:
    """Where `download` puts a package."""
    return folder / f"{name}.deb"


def download(package: Package, folder: Path) -> Path:
    """The package's file in ``folder``, downloaded unless it is there with the right checksum."""
    target = archive_path(folder, package.name)
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
                raise DataError(_download_failure(package, result.stderr))
            found = sha256_of(files[0])
            if found != package.sha256:
                raise DataError(
                    f"the download of {package.name} {package.version} has sha256 {found}, apt's "
                    f"lists say {package.sha256}; run `apt-get update` and try again"
                )
            os.replace(files[0], target)
    return target


def _download_failure(package: Package, stderr: str) -> str:
    reason = next((line for line in stderr.splitlines() if line.startswith("E:")), stderr.strip())
    advice = "run `apt-get update` and try again"
    if any(sign in stderr for sign in NO_NETWORK):
        advice = "there is no connection to the package source: check the network and its proxy"
    elif "No space left" in stderr or "enough free space" in stderr:
        advice = "the disk is full: free some space or name another folder with --work"
    return f"apt-get could not download {package.name} {package.version} ({reason}); {advice}"


def unpack(archive: Path, folder: Path, wanted: Callable[[str], bool]) -> Path:
    """The wanted regular files of a .deb under ``folder``; done once, all or nothing.

    Members are read from `dpkg-deb --fsys-tarfile` and written one by one: links are never
    followed or made, and a wanted member that would land outside the folder is a `DataError`.
    """
    if folder.is_dir():
        return folder
    part = folder.with_name(folder.name + ".part")
    with disk_errors(folder.parent):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        try:
            _extract(archive, part, wanted)
            os.replace(part, folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return folder


def _extract(archive: Path, folder: Path, wanted: Callable[[str], bool]) -> None:
    command = [find_program("dpkg-deb"), "--fsys-tarfile", str(archive)]
    with tempfile.TemporaryFile(dir=folder) as contents:
        result = subprocess.run(command, stdout=contents, stderr=subprocess.PIPE, check=False)
        said = result.stderr.decode(errors="replace").strip()
        if result.returncode != 0:
            raise DataError(f"cannot unpack {archive}: {said}; delete the file and run again")
        contents.seek(0)
        try:
            with tarfile.open(fileobj=contents, mode="r:") as members:
                for member in members:
                    _extract_member(members, member, folder, wanted)
        except tarfile.TarError as error:
            raise DataError(
                f"cannot unpack {archive}: {error}; delete the file and run again"
            ) from error


def _extract_member(
    members: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, wanted: Callable[[str], bool]
) -> None:
    name = member.name.removeprefix("./")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise DataError(
            f"the package member {member.name!r} would be written outside {folder}; "
            "expected relative paths only: this package is not to be trusted"
        )
    if not member.isreg() or not wanted(name):
        return
    source = members.extractfile(member)
    if source is None:
        return
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    with source, target.open("wb") as file:
        shutil.copyfileobj(source, file)


def find_program(name: str) -> str:
    """Full path of apt-get, apt-cache or dpkg-deb; `DataError` with what to do without it."""
    found = shutil.which(name)
    if found is None:
        raise DataError(
            f"the program {name} is not installed; the recipe needs Debian's apt and dpkg: run it "
            "on Debian or Ubuntu, or in a container of one (`docker run debian:stable`)"
        )
    return found


def _run(command: Sequence[str], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    # Messages are searched for known words, so they must not be translated.
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        [find_program(command[0]), *command[1:]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
