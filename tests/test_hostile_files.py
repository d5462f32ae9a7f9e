"""Files that are damaged, of another kind, or made to do harm, at every loader.

The code is read as text, too, so that the next loader or unpacker that is written is looked at.
"""

import ast
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from echostream.config import load_config
from echostream.decoder import ByteLevelTokenizer, Tokenizer
from echostream.encoder import StreamState
from echostream.errors import CheckpointError, ConfigError, DataError, EchoStreamError
from echostream.model import load_model
from echostream.model.importers.ctranslate2 import read_variables
from echostream.model.importers.streamspeech import read_checkpoint as read_fairseq
from echostream.model.importers.streamspeech import read_gcmvn
from echostream.model.importers.whisper import read_whisper
from echostream.session import SystemOptions, Translator, build_translator
from echostream.session.saved_stream import restore_stream
from echostream.training.corpus.manifest import ManifestRow, read_manifest, write_manifest
from tests.decoder.conftest import train

ROOT = Path(__file__).parents[1]
WEIGHTS = "model.safetensors"


class Intruder:
    """Unpickling it leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.trace),)


@pytest.fixture
def copied(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "copied"))


def _training(path: Path) -> Any:
    pytest.importorskip("matplotlib")
    from echostream.training.fairseq_checkpoints import read_checkpoint

    return read_checkpoint(path)


def _features(path: Path) -> Any:
    from echostream.training.corpus.utterances import Utterance
    from echostream.training.features import read_recording

    utterance = Utterance("a", "c", "train", path.rename(path.with_suffix(".npy")), 1, "a", "b")
    return read_recording(utterance)


LOADERS: dict[str, Callable[[Path, Translator], Any]] = {
    "fairseq checkpoint": lambda path, _: read_fairseq(path),
    "training checkpoint": lambda path, _: _training(path),
    "feature statistics": lambda path, _: read_gcmvn(path),
    "stored features": lambda path, _: _features(path),
    "vocabulary": lambda path, _: Tokenizer(path),
    "vocabulary of bytes": lambda path, _: ByteLevelTokenizer.from_file(path),
    "Whisper checkpoint": lambda path, _: read_whisper(path),
    "CTranslate2 model": lambda path, _: read_variables(path),
    "configuration": lambda path, _: load_config(path),
    "saved stream": lambda path, t: restore_stream(t, path.read_bytes()),
    "encoder state": lambda path, t: StreamState.from_bytes(
        path.read_bytes(),
        t.listener.model.encoder,  # type: ignore[arg-type]
    ),
}


@pytest.mark.fault("F26")
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("way", ["plain", "torch"])
@pytest.mark.parametrize("loader", LOADERS)
def test_a_pickle_with_code_is_refused_by_every_loader(
    tmp_path: Path, translate: Any, loader: str, way: str
) -> None:
    path, trace = tmp_path / "file.pt", tmp_path / "trace"
    content = {"model": {"a": torch.zeros(1)}, "extra_state": Intruder(trace)}
    if way == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(EchoStreamError):
        LOADERS[loader](path, translate())
    assert not trace.exists()
    # The file is dangerous indeed.
    path = next(p for p in tmp_path.iterdir() if p.name.startswith("file"))
    if way == "torch":
        torch.load(path, weights_only=False)
    else:
        pickle.loads(path.read_bytes())
    assert trace.exists()


@pytest.mark.fault("F26")
@pytest.mark.parametrize("name", [WEIGHTS, "source.model", "target.model", "config.json"])
def test_a_pickle_in_place_of_any_file_of_a_checkpoint_is_refused(copied: Path, name: str) -> None:
    trace = copied / "trace"
    (copied / name).write_bytes(pickle.dumps(Intruder(trace)))
    with pytest.raises(CheckpointError, match=name):
        build_translator(SystemOptions(checkpoint=str(copied)))
    assert not trace.exists()


@pytest.mark.fault("F27")
def test_wrong_magic_and_lying_headers_are_named(copied: Path) -> None:
    path = copied / WEIGHTS
    whole = path.read_bytes()
    header = int.from_bytes(whole[:8], "little")
    for content in (
        b"PK\x03\x04" + whole,
        (2**63).to_bytes(8, "little") + whole[8:],
        (header + 1).to_bytes(8, "little") + whole[8:],
        whole[:8] + b"[" * header + whole[8 + header :],
        b"\x00" * 1000,
    ):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=WEIGHTS):
            load_model(copied)


@pytest.mark.fault("F30")
@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("missing", "cannot read"),
        ("empty", "empty"),
        ("cut", "damaged|pieces"),
        ("larger", "expected 30"),
        ("unmarked", "U\\+2581"),
    ],
)
def test_a_wrong_vocabulary_is_refused_at_loading(copied: Path, kind: str, told: str) -> None:
    path = copied / "target.model"
    data = path.read_bytes()
    path.unlink()
    if kind == "empty":
        path.touch()
    elif kind == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif kind == "larger":
        path.write_bytes(train(["a few other words in here"] * 20, vocab_size=29))
    elif kind == "unmarked":
        unmarked = train(["abcd", "efgh"] * 20, model_type="char", add_dummy_prefix=False)
        path.write_bytes(unmarked)
    with pytest.raises(CheckpointError, match=told) as caught:
        build_translator(SystemOptions(checkpoint=str(copied)))
    assert "target.model" in str(caught.value)


@pytest.mark.fault("F32")
def test_yaml_that_would_make_objects_is_refused(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    (tmp_path / "c.yaml").write_text(f"a: !!python/object/apply:os.mkdir ['{trace}']\n")
    with pytest.raises(ConfigError, match="YAML"):
        load_config(tmp_path / "c.yaml")
    with pytest.raises(ConfigError, match="--policy-options k is"):
        build_translator(
            SystemOptions(policy_options=f"k=!!python/object/apply:os.mkdir ['{trace}']")
        )
    assert not trace.exists()


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


@pytest.mark.fault("F26")
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
def test_the_search_for_dangers_finds_them(line: str) -> None:
    assert dangers(line)


@pytest.mark.fault("F26")
def test_no_code_of_the_project_loads_code_or_unpacks_blindly() -> None:
    files = [
        path
        for folder in ("echostream", "eval", "agents")
        for path in (ROOT / folder).rglob("*.py")
    ]
    assert len(files) > 100
    found = {str(path.relative_to(ROOT)): dangers(path.read_text("utf-8")) for path in files}
    dangerous = {name: lines for name, lines in found.items() if lines}
    # A socket pair between the server and a process that it has started; as multiprocessing does.
    own = dangerous.pop("echostream/hosts/server/wire.py")
    assert all("pickle." in line for line in own)
    assert dangerous == {}


@pytest.mark.fault("F26")
def test_only_the_importers_of_foreign_checkpoints_read_pickles_at_all() -> None:
    """Everything else is safetensors; these belong to commands of their own."""
    readers = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "echostream").rglob("*.py")
        if any(name == "torch.load" for name, _ in calls(ast.parse(path.read_text("utf-8"))))
    }
    assert readers <= {
        "echostream/model/importers/streamspeech.py",
        "echostream/model/importers/whisper.py",
        "echostream/training/fairseq_checkpoints.py",
    }


ROW = ManifestRow(
    "a", "c", "train", "audio/c/a.flac", 16_000, 1.0, "s", "es", "en", "hola", "hello", "CC0-1.0"
)


@pytest.mark.fault("F53")
@pytest.mark.parametrize("name", ["../a.flac", "/etc/passwd", "audio/../../a.flac", "..", "a\0b"])
def test_a_manifest_cannot_name_audio_outside_its_folder(tmp_path: Path, name: str) -> None:
    write_manifest(tmp_path / "manifest.tsv", [ROW, replace(ROW, id="b", audio=name)])
    with pytest.raises(DataError, match=r"manifest.tsv:3.*outside the manifest's folder"):
        read_manifest(tmp_path / "manifest.tsv")


@pytest.mark.fault("F53")
def test_a_manifest_of_its_own_folder_is_read(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.tsv", [ROW, replace(ROW, audio="a..b/c.flac")])
    assert len(read_manifest(tmp_path / "manifest.tsv")) == 2
