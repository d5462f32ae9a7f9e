"""F01 to F39 once more where the encoder is compiled: audio, states, and the graphs on disk."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echostream.backend import (
    installed_backends,
    make_backend,
    onnxruntime_engine,
    openvino_engine,
)
from echostream.backend.cache import DESCRIPTION, SUMS
from echostream.constants import SAMPLE_RATE
from echostream.errors import AudioFormatError, CheckpointError, ConfigError, StateMismatchError
from echostream.session import AgentOptions, Translator, build_translator
from echostream.session.listener import Listener
from echostream.session.saved_stream import restore_stream, save_stream
from tests.backend.compiled import export_once
from tests.faults.conftest import assert_equal_states, assert_finite, hear, spoil
from tests.small_system import audio

COMPILED = [name for name in installed_backends() if name != "torch"]
SAMPLES = audio(1.5, seed=11)

pytestmark = pytest.mark.usefixtures("one_export")


@pytest.fixture(scope="module")
def one_export() -> Iterator[None]:
    """Exporting takes most of the time, and the file is the same for all."""
    with pytest.MonkeyPatch.context() as patch:
        for engine in (openvino_engine, onnxruntime_engine):
            patch.setattr(engine, "export_onnx", export_once)
        yield


def build(folder: Path, backend: str, **options: Any) -> Translator:
    return build_translator(
        AgentOptions(checkpoint=str(folder), policy="stub", backend=backend, **options)
    )


@pytest.fixture(scope="module", params=COMPILED)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def translator(one_export: None, checkpoint: Path, backend: str) -> Translator:
    return build(checkpoint, backend)


def check_finite(translator: Translator, samples: Any) -> None:
    """Everything on the way and the state at the end are, as `hear` checks; its size stays."""
    assert len(set(hear(translator, samples.astype(np.float32)).state_bytes)) == 1


def test_F01_silence_is_finite(translator: Translator) -> None:
    check_finite(translator, np.zeros(16_000))


def test_F07_denormals_are_finite(translator: Translator) -> None:
    check_finite(translator, SAMPLES.astype(np.float64) * 1e-40)


@pytest.mark.parametrize("gain", [0.01, 100.0])
def test_F08_extreme_levels_are_finite(translator: Translator, gain: float) -> None:
    check_finite(translator, np.clip(SAMPLES * gain, -4, 4))


def test_F05_bad_samples_do_not_reach_the_graph(translator: Translator) -> None:
    poisoned = SAMPLES[9000:12_000].copy()
    poisoned[123] = np.nan
    _, state = translator.step(SAMPLES[:9000], SAMPLE_RATE, translator.init_state(), is_final=False)
    with pytest.raises(AudioFormatError, match="sample 9123 is nan"):
        translator.step(poisoned, SAMPLE_RATE, state, is_final=False)
    after = hear(translator, SAMPLES[9000:], state=state)
    assert_equal_states(after.state, hear(translator, SAMPLES, (9000, 5120)).state)


def test_F11_any_segments_give_the_same(translator: Translator) -> None:
    whole = hear(translator, SAMPLES, len(SAMPLES))
    for sizes in (997, (1, 0, 399, 0, 7000, 61)):
        parts = hear(translator, SAMPLES, sizes)
        assert parts.decisions == whole.decisions
        np.testing.assert_allclose(parts.frames, whole.frames, atol=1e-4)


@pytest.fixture
def copied(translator: Translator, checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint whose graph is there, for the fixture ``translator`` was made of it."""
    return Path(shutil.copytree(checkpoint, tmp_path / "copied"))


def graph_of_one_stream(folder: Path, backend: str) -> Path:
    """Other tests may have left others beside it."""
    wanted = {"backend": backend, "precision": "float32", "batch_size": 1}
    (found,) = (
        each
        for each in (folder / "compiled").iterdir()
        if wanted.items() <= json.loads((each / DESCRIPTION).read_text()).items()
    )
    return found


@pytest.mark.parametrize("damage", ["altered", "outdated"])
def test_F27_a_damaged_or_outdated_graph_is_made_again(
    translator: Translator, copied: Path, backend: str, damage: str, caplog: Any
) -> None:
    folder = graph_of_one_stream(copied, backend)
    path = folder / {"openvino": "graph.bin", "onnxruntime": "graph.onnx"}[backend]
    data = path.read_bytes()
    altered = data[:-1000] + b"\x42" * 4 + data[-996:]
    if damage == "altered":
        # In the weights, where it would only change what is said.
        path.write_bytes(altered)
    else:
        described = json.loads((folder / DESCRIPTION).read_text())
        described["backend_version"] = "0.0.1"
        (folder / DESCRIPTION).write_text(json.dumps(described))
    with caplog.at_level(logging.WARNING):
        again = build(copied, backend)
    assert ("is not whole" in caplog.text) == (damage != "outdated")
    assert np.array_equal(hear(again, SAMPLES).frames, hear(translator, SAMPLES).frames)
    assert path.read_bytes() != altered and (folder / SUMS).exists()


def test_F27_a_folder_that_cannot_be_written_is_done_without(
    translator: Translator, copied: Path, backend: str, caplog: Any
) -> None:
    shutil.rmtree(copied / "compiled")
    (copied / "compiled").write_text("a file is in the way")
    with caplog.at_level(logging.WARNING):
        again = build(copied, backend)
    assert "cannot keep the compiled encoder" in caplog.text
    assert np.array_equal(hear(again, SAMPLES).frames, hear(translator, SAMPLES).frames)


def test_F33_a_backend_that_is_not_there_is_refused(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in (openvino_engine.OpenVino, onnxruntime_engine.OnnxRuntime):
        monkeypatch.setattr(kind, "version", lambda self: None)
    for name in ("openvino", "onnxruntime"):
        with pytest.raises(ConfigError, match=f"{name} is not installed; pip install"):
            build(checkpoint, name)
    with pytest.raises(ConfigError, match="int8.*torch"):
        build(checkpoint, "torch", precision="int8")
    assert hear(build(checkpoint, "auto"), SAMPLES[:8000]).turns


@pytest.mark.parametrize("where", ["encoder", "head"])
def test_F34_nan_weights_are_never_text(checkpoint: Path, backend: str, where: str) -> None:
    made = build(checkpoint, "torch")
    model = made.listener.model
    spoil(model, where)
    encoder = make_backend(model.encoder, backend)  # type: ignore[arg-type]
    listener = Listener(model, made.listener.front_end, task="s2tt", chunking={}, encoder=encoder)
    translator = Translator(listener, made.writer)
    with pytest.raises(CheckpointError, match="NaN"):
        translator.step(SAMPLES, SAMPLE_RATE, translator.init_state(), is_final=True)


def test_F35_two_runs_are_the_same_to_the_bit(translator: Translator) -> None:
    one, other = hear(translator, SAMPLES), hear(translator, SAMPLES)
    assert one.decisions == other.decisions
    assert np.array_equal(one.frames, other.frames)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_F39_streams_move_between_backends_in_mid_word(
    translator: Translator, checkpoint: Path, backend: str, precision: str
) -> None:
    """There and back; float32 says what torch says, int8 at least says something finite."""
    torch_one = build(checkpoint, "torch")
    there = translator if precision == "float32" else build(checkpoint, backend, precision="int8")
    expected = hear(torch_one, SAMPLES, (7000, 7000, 3000))
    state, words = torch_one.init_state(), []
    for one, samples in (
        (torch_one, SAMPLES[:7000]),
        (there, SAMPLES[7000:14_000]),
        (torch_one, SAMPLES[14_000:]),
    ):
        state = restore_stream(one, save_stream(torch_one, state))
        last = one is torch_one and len(samples) != 7000
        step, state = one.step(samples, SAMPLE_RATE, state, is_final=last)
        words += step.words
    assert_finite(state)
    if precision == "float32":
        assert words == expected.words


def test_F36_a_state_of_another_chunking_is_refused(
    translator: Translator, checkpoint: Path
) -> None:
    _, state = translator.step(SAMPLES[:8000], SAMPLE_RATE, translator.init_state(), is_final=False)
    with pytest.raises(StateMismatchError, match="fingerprint"):
        restore_stream(build(checkpoint, "torch", chunk_ms=640), save_stream(translator, state))


def test_F38_two_branches_of_one_state_do_not_meet(translator: Translator) -> None:
    _, state = translator.step(SAMPLES[:8000], SAMPLE_RATE, translator.init_state(), is_final=False)
    before = save_stream(translator, state)
    first = hear(translator, SAMPLES[8000:], state=state)
    hear(translator, audio(1.0, seed=6), 777, state=state)
    again = hear(translator, SAMPLES[8000:], state=state)
    assert again.decisions == first.decisions
    assert_equal_states(again.state, first.state)
    assert save_stream(translator, state) == before
