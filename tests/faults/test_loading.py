"""F26 to F35: checkpoints, vocabularies, statistics, configurations, devices."""

from __future__ import annotations

import json
import logging
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml

from echostream.audio import Cmvn, FrontEndState
from echostream.baseline.import_checkpoint import read_checkpoint as read_fairseq
from echostream.baseline.import_checkpoint import read_gcmvn
from echostream.config import SystemConfig, from_mapping, load_config, to_mapping
from echostream.constants import SAMPLE_RATE
from echostream.decoder import Tokenizer
from echostream.encoder import StreamState
from echostream.errors import CheckpointError, ConfigError, EchoStreamError
from echostream.hosts.simuleval.agent import EchoStreamAgent
from echostream.model import load_model
from echostream.session import AgentOptions, Translator, build_translator
from echostream.session.saved_stream import restore_stream
from tests.decoder.conftest import train
from tests.faults.conftest import ROOT, hear, spoil
from tests.small_system import audio

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
    from echostream.training.checkpoints import read_checkpoint

    return read_checkpoint(path)


def _features(path: Path) -> Any:
    from echostream.training.corpus import Utterance
    from echostream.training.features import read_recording

    utterance = Utterance("a", "c", "train", path.rename(path.with_suffix(".npy")), 1, "a", "b")
    return read_recording(utterance)


LOADERS: dict[str, Callable[[Path, Translator], Any]] = {
    "fairseq checkpoint": lambda path, _: read_fairseq(path),
    "training checkpoint": lambda path, _: _training(path),
    "feature statistics": lambda path, _: read_gcmvn(path),
    "stored features": lambda path, _: _features(path),
    "vocabulary": lambda path, _: Tokenizer(path),
    "configuration": lambda path, _: load_config(path),
    "saved stream": lambda path, t: restore_stream(t, path.read_bytes()),
    "front-end state": lambda path, _: FrontEndState.from_bytes(path.read_bytes()),
    "encoder state": lambda path, t: StreamState.from_bytes(
        path.read_bytes(),
        t.listener.model.encoder,  # type: ignore[arg-type]
    ),
}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("way", ["plain", "torch"])
@pytest.mark.parametrize("loader", LOADERS)
def test_F26_a_pickle_with_code_is_refused_by_every_loader(
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


@pytest.mark.parametrize("name", [WEIGHTS, "source.model", "target.model", "config.json"])
def test_F26_a_pickle_in_place_of_any_file_of_a_checkpoint_is_refused(
    copied: Path, name: str
) -> None:
    trace = copied / "trace"
    (copied / name).write_bytes(pickle.dumps(Intruder(trace)))
    with pytest.raises(CheckpointError, match=name):
        build_translator(AgentOptions(checkpoint=str(copied)))
    assert not trace.exists()


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 100, -4, -1])
def test_F27_cut_weights_are_named(copied: Path, kept: int) -> None:
    path = copied / WEIGHTS
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=WEIGHTS):
        load_model(copied)


def test_F27_wrong_magic_and_lying_headers_are_named(copied: Path) -> None:
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


def changed(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = safetensors.torch.load_file(folder / WEIGHTS)
    change(tensors)
    safetensors.torch.save_file(tensors, folder / WEIGHTS)


def test_F28_the_first_ten_misfits_are_listed(copied: Path) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        names = sorted(name for name in tensors if name.startswith("encoder"))
        for name in names[:12]:
            del tensors[name]
        tensors["stranger"] = torch.zeros(2)
        tensors["st_head.projection.bias"] = torch.zeros(3)

    changed(copied, change)
    with pytest.raises(CheckpointError, match="and 4 more") as caught:
        load_model(copied)
    assert str(caught.value).count("missing") == 10


def test_F28_shapes_are_told_as_found_and_expected(copied: Path) -> None:
    changed(copied, lambda t: t.update({"st_head.projection.bias": torch.zeros(3)}))
    with pytest.raises(
        CheckpointError, match=r"st_head.projection.bias: found \(3,\), expected \(31,\)"
    ):
        load_model(copied)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("st_vocab_size", 29),
        ("encoder.embed_dim", [16, 16, 24, 32, 24, 16]),
        ("encoder.memory_size", 0),
    ],
)
def test_F29_another_configuration_is_refused_before_any_audio(
    copied: Path, key: str, value: Any
) -> None:
    config = json.loads((copied / "config.json").read_text())
    place = config
    *parents, last = key.split(".")
    for parent in parents:
        place = place[parent]
    place[last] = value
    (copied / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="does not fit"):
        build_translator(AgentOptions(checkpoint=str(copied)))


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
def test_F30_a_wrong_vocabulary_is_refused_at_loading(copied: Path, kind: str, told: str) -> None:
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
        build_translator(AgentOptions(checkpoint=str(copied)))
    assert "target.model" in str(caught.value)


def test_F31_statistics_are_checked_and_flat_bins_floored(caplog: Any) -> None:
    ones = np.ones(80)
    for mean, std in (
        (np.ones(79), ones),
        (ones, np.ones(81)),
        (ones * np.nan, ones),
        (ones, -ones),
    ):
        with pytest.raises(ConfigError, match="CMVN"):
            Cmvn(mean, std)
    flat = Cmvn(ones, np.zeros(80))
    assert np.isfinite(flat(np.zeros((3, 80), np.float32))).all()
    assert "raised to it" in caplog.text


def test_F31_statistics_in_a_checkpoint_that_are_not_finite_are_refused(copied: Path) -> None:
    changed(copied, lambda t: t["cmvn_mean"].fill_(float("nan")))
    with pytest.raises(CheckpointError, match="cmvn_mean"):
        load_model(copied)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"encoder": {"memory_sise": 4}}, "memory_size"),
        ({"encoder": {"embed_dim": "wide"}}, "embed_dim"),
        ({"encoder": {"dropout": "False"}}, "dropout"),
        ({"audio": {"nan_policy": False}}, "nan_policy"),
        ({"encoder": {"chunk_size": -8}}, "multiple of 8"),
        ({"encoder": {"chunk_size": 12}}, "multiple of 8"),
        ({"encoder": {"left_context": 4}}, "multiple of 8"),
        ({"encoder": {"max_future_frames": -1}}, "max_future_frames"),
        ({"encoder": 3}, "encoder"),
        ({"st_vocab_size": True}, "st_vocab_size"),
    ],
)
def test_F32_wrong_configurations_name_the_key(
    tmp_path: Path, values: dict[str, Any], told: str
) -> None:
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError, match=told):
        load_config(tmp_path / "c.yaml")
    with pytest.raises(ConfigError, match=told):
        from_mapping(SystemConfig, values)
    assert to_mapping(load_config(ROOT / "configs" / "tiny.yaml"))


def test_F32_yaml_that_would_make_objects_is_refused(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    (tmp_path / "c.yaml").write_text(f"a: !!python/object/apply:os.mkdir ['{trace}']\n")
    with pytest.raises(ConfigError, match="YAML"):
        load_config(tmp_path / "c.yaml")
    with pytest.raises(ConfigError, match="--policy-options k is"):
        build_translator(
            AgentOptions(policy_options=f"k=!!python/object/apply:os.mkdir ['{trace}']")
        )
    assert not trace.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "gpu"])
def test_F33_a_gpu_that_is_not_there_is_refused(checkpoint: Path, device: str) -> None:
    agent = EchoStreamAgent(SimpleNamespace(checkpoint=str(checkpoint)))
    with pytest.raises(ConfigError, match=f"'{device}' but there is no usable GPU"):
        agent.to(device, fp16=False)


def test_F33_half_precision_on_the_cpu_is_a_warning_and_float32(
    checkpoint: Path, caplog: Any
) -> None:
    agent = EchoStreamAgent(SimpleNamespace(checkpoint=str(checkpoint)))
    with caplog.at_level(logging.WARNING):
        agent.to("cpu", fp16=True)
    assert "float32" in caplog.text
    parameters = agent.translator.listener.model.parameters()
    assert {parameter.dtype for parameter in parameters} == {torch.float32}


def test_F34_nan_weights_are_refused_at_loading(copied: Path) -> None:
    changed(copied, lambda t: t["st_head.projection.weight"][0].fill_(float("nan")))
    with pytest.raises(CheckpointError, match=r"st_head.projection.weight.*diverged"):
        load_model(copied)


@pytest.mark.parametrize("decoder", ["greedy", "prefix-beam"])
@pytest.mark.parametrize("where", ["encoder", "head"])
def test_F34_nan_that_arises_later_is_never_text(translate: Any, where: str, decoder: str) -> None:
    translator = translate(policy="stub", decoder=decoder)
    model = translator.listener.model
    spoil(model, where)
    model.eval()
    with pytest.raises(CheckpointError, match="NaN"):
        translator.step(audio(1.0), SAMPLE_RATE, translator.init_state(), is_final=True)


def test_F35_two_runs_are_the_same_to_the_bit(checkpoint: Path) -> None:
    runs = []
    for _ in range(2):
        translator = build_translator(AgentOptions(checkpoint=str(checkpoint)))
        runs.append(hear(translator, audio(2.0)))
    assert runs[0].decisions == runs[1].decisions
    assert np.array_equal(runs[0].frames, runs[1].frames)
