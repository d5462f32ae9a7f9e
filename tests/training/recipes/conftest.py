"""A package source without a network."""

import os
import shutil
from pathlib import Path

import pytest

from .packages import PROGRAM, Archive, asterisk_packages, drascula_packages, tuxpaint_packages

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is missing")


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """An empty package source; its apt-get and apt-cache come first in PATH."""
    made = Archive(tmp_path / "archive")
    for name in ("apt-get", "apt-cache"):
        program = made.programs / name
        program.write_text(PROGRAM.format(folder=made.folder))
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(made.programs) + os.pathsep + os.environ["PATH"])
    return made


@pytest.fixture
def full_archive(archive: Archive) -> Archive:
    """The package source with the miniature packages of all three corpora."""
    for packages in (asterisk_packages(), tuxpaint_packages(), drascula_packages()):
        for name, content in packages.items():
            archive.add(name, content)
    return archive
