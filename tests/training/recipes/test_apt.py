"""Packages described, downloaded and unpacked, with planted faults."""

import errno
from pathlib import Path

import pytest

from echostream.errors import DataError
from echostream.training.corpus.conversion import disk_errors
from echostream.training.recipes.apt import describe, download, unpack

from .conftest import needs_dpkg
from .packages import Archive, deb, file_member, link_member, tree_deb


def everything(member: str) -> bool:
    return True


def files_under(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() or path.is_symlink()
    }


def test_describe_reads_the_candidate(archive: Archive) -> None:
    archive.add("sounds", b"content", version="2:1.6~rc1-1")
    package = describe("sounds")
    assert (package.name, package.version, package.size) == ("sounds", "2:1.6~rc1-1", 7)
    # printf content | sha256sum
    assert package.sha256 == "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
    with pytest.raises(DataError, match="'other'.*apt-get update"):
        describe("other")


def test_what_is_there_is_not_downloaded_again_unless_it_is_damaged(
    archive: Archive, tmp_path: Path
) -> None:
    archive.add("sounds", b"content")
    package = describe("sounds")
    for _ in range(2):
        stored = download(package, tmp_path / "work")
        assert files_under(tmp_path / "work") == {stored.name: b"content"}
    assert archive.downloads == ["sounds=1.0-1"]
    stored.write_bytes(b"contend")
    assert download(package, tmp_path / "work").read_bytes() == b"content"
    assert len(archive.downloads) == 2
    archive.fail("W: note\nE: Version '1.0-1' was not found\nE: more\n")
    stored.unlink()
    with pytest.raises(DataError, match=r"\(E: Version '1.0-1' was not found\);.*the network"):
        download(package, tmp_path / "work")


@pytest.mark.fault("F53")
def test_wrong_checksum_is_refused(archive: Archive, tmp_path: Path) -> None:
    archive.add("sounds", b"content", sha256="0" * 64)
    with pytest.raises(DataError, match=r"sha256 ed7002b4.* say 0000.*apt-get update"):
        download(describe("sounds"), tmp_path / "work")
    assert list((tmp_path / "work").iterdir()) == []


def test_missing_programs(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.add("sounds", deb([]))
    package = describe("sounds")
    stored = download(package, tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(DataError, match="apt-cache is not installed.*Debian"):
        describe("sounds")
    with pytest.raises(DataError, match="apt-get is not installed.*Debian"):
        download(package, tmp_path / "elsewhere")
    with pytest.raises(DataError, match="dpkg-deb is not installed.*Debian"):
        unpack(stored, tmp_path / "out", everything)


@needs_dpkg
def test_unpack_takes_wanted_regular_files_only(tmp_path: Path) -> None:
    members = [
        file_member("./usr/share/a.g722", b"a"),
        file_member("./usr/share/b.wav", b"b"),
        link_member("./usr/share/c.g722", "a.g722"),
        link_member("./usr/link", "/tmp"),
    ]
    archive = tmp_path / "x.deb"
    archive.write_bytes(deb(members))
    # Remains of an unpacking that was interrupted.
    (tmp_path / "out.part").mkdir()
    (tmp_path / "out.part/old").write_text("half")
    folder = unpack(archive, tmp_path / "out", lambda member: member.endswith(".g722"))
    assert files_under(folder) == {"usr/share/a.g722": b"a"}
    assert not (tmp_path / "out.part").exists()
    archive.unlink()
    assert unpack(archive, folder, everything) == folder  # not done twice


@pytest.mark.fault("F53")
@needs_dpkg
@pytest.mark.parametrize("name", ["../evil", "./usr/../../evil", "/evil", "usr/.."])
def test_members_outside_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    archive = tmp_path / "x.deb"
    archive.write_bytes(deb([file_member("./good", b"1"), file_member(name, b"2")]))
    with pytest.raises(DataError, match="outside"):
        unpack(archive, tmp_path / "in/out", everything)
    assert sorted(files_under(tmp_path)) == ["x.deb"]
    assert list((tmp_path / "in").iterdir()) == []


@pytest.mark.fault("F53")
@needs_dpkg
def test_a_link_does_not_lead_outside(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    archive = tmp_path / "x.deb"
    members = [link_member("./door", str(outside)), file_member("./door/evil", b"2")]
    archive.write_bytes(deb(members))
    folder = unpack(archive, tmp_path / "out", everything)
    assert list(outside.iterdir()) == []
    assert files_under(folder) == {"door/evil": b"2"}


@needs_dpkg
@pytest.mark.parametrize("size", [0, 7, 100, 500, 5000])
def test_a_cut_package_is_refused(tmp_path: Path, size: int) -> None:
    content = tree_deb({f"f{number}": b"x" * 900 for number in range(5)})
    assert len(content) > 5000
    archive = tmp_path / "x.deb"
    archive.write_bytes(content[:size])
    with pytest.raises(DataError, match="cannot unpack"):
        unpack(archive, tmp_path / "out", everything)
    assert [path.name for path in tmp_path.iterdir()] == ["x.deb"]


@pytest.mark.parametrize(
    ("number", "advice"), [(errno.ENOSPC, "free some space"), (errno.EIO, "check the folder")]
)
def test_disk_errors_say_what_to_do(tmp_path: Path, number: int, advice: str) -> None:
    with pytest.raises(DataError, match=advice), disk_errors(tmp_path):
        raise OSError(number, "made up")
