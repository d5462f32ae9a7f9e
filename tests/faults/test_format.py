"""F19 to F25: sample rates, channels, types, files, bytes."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
import torch
from simuleval.data.segments import SpeechSegment

from echostream.audio import read_audio
from echostream.audio import samples as audio_samples
from echostream.constants import SAMPLE_RATE
from echostream.errors import AudioFormatError
from echostream.hosts.simuleval.agent import EchoStreamAgent
from eval.sweep import read_sources
from tests.faults.conftest import assert_equal_states, hear
from tests.small_system import audio


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100, 48_000])
def test_F19_other_rates_have_no_seams(translate: Any, rate: int) -> None:
    translator = translate(policy="stub")
    samples = soxr.resample(audio(1.5), SAMPLE_RATE, rate)
    whole = hear(translator, samples, len(samples), rate)
    assert whole.words
    for size in (rate * 320 // 1000, 2999):
        parts = hear(translator, samples, size, rate)
        assert parts.decisions == whole.decisions
        np.testing.assert_allclose(parts.frames, whole.frames, atol=1e-5)


def test_F20_a_change_of_rate_is_refused_and_the_stream_goes_on(translate: Any) -> None:
    translator = translate(policy="stub")
    samples = audio(1.5)
    _, state = translator.step(samples[:8000], SAMPLE_RATE, translator.init_state(), is_final=False)
    with pytest.raises(AudioFormatError, match="from 16000 to 8000 Hz after 8000 samples"):
        translator.step(samples[8000:9000], 8000, state, is_final=False)
    after = hear(translator, samples[8000:], state=state)
    assert_equal_states(after.state, hear(translator, samples, (8000, 5120)).state)


def test_F20_also_between_pushes_that_are_heard_together(checkpoint: Path) -> None:
    agent = EchoStreamAgent(SimpleNamespace(checkpoint=str(checkpoint)))
    agent.push(SpeechSegment(content=[0.1] * 400, sample_rate=16_000))
    with pytest.raises(AudioFormatError, match="from 16000 to 8000 Hz after 400 samples"):
        agent.push(SpeechSegment(content=[0.1] * 400, sample_rate=8000))
    agent.pop()
    assert agent.states.translator_state is not None
    assert agent.states.translator_state.listener.front_end.samples_heard == 400


def test_F21_stereo_is_averaged_with_one_warning(
    translate: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(audio_samples, "_warned", set())
    translator = translate(policy="stub")
    left, right = audio(1.0, seed=1), audio(1.0, seed=2)
    mono = hear(translator, (left + right) * np.float32(0.5))
    pairs = np.stack((left, right), axis=1)
    for form in (pairs, pairs.tolist(), torch.from_numpy(pairs)):
        assert hear(translator, form).decisions == mono.decisions
    step, _ = translator.step(
        np.stack((left, right)), SAMPLE_RATE, translator.init_state(), is_final=True
    )
    assert step.turns == mono.turns
    assert caplog.text.count("averaged to one channel") == 1
    with pytest.raises(AudioFormatError, match=r"shape \(100, 3\)"):
        hear(translator, np.zeros((100, 3), np.float32))


INT16 = np.round(audio(1.0, seed=7) * 32767).astype(np.int16)
AS_FLOAT = INT16.astype(np.float32) / 32768


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.setflags(write=False)
    return array


FORMS = {
    "list": AS_FLOAT.tolist(),
    "tuple": tuple(AS_FLOAT.tolist()),
    "float64": AS_FLOAT.astype(np.float64),
    "int16": INT16,
    "int32": INT16.astype(np.int32) * 65536,
    "big-endian int16": INT16.astype(">i2"),
    "big-endian float": AS_FLOAT.astype(">f4"),
    "every other one": np.repeat(AS_FLOAT, 2)[::2],
    "backwards": AS_FLOAT[::-1].copy()[::-1],
    "read-only": read_only(AS_FLOAT),
    "tensor": torch.from_numpy(AS_FLOAT),
    "int16 tensor": torch.from_numpy(INT16),
    "column": AS_FLOAT[:, None],
}


@pytest.mark.parametrize("form", FORMS)
def test_F22_every_form_of_the_same_audio_is_heard_alike(translate: Any, form: str) -> None:
    translator = translate(policy="stub")
    heard = hear(translator, FORMS[form])
    expected = hear(translator, AS_FLOAT)
    assert heard.decisions == expected.decisions
    assert np.array_equal(heard.frames, expected.frames)


def test_F22_types_survive_pushes_that_are_heard_together(checkpoint: Path) -> None:
    """Joined as lists, quiet 16-bit numbers would pass for loud floats."""

    def said(*parts: Any) -> Any:
        agent = EchoStreamAgent(SimpleNamespace(checkpoint=str(checkpoint)))
        for part in parts:
            agent.push(SpeechSegment(content=part, sample_rate=SAMPLE_RATE))
        agent.pop()
        return agent.states.translator_state

    quiet = (INT16 // 8192).astype(np.int16)
    expected = said(quiet)
    assert_equal_states(said(quiet[:9000], quiet[9000:]), expected)
    floats = (quiet.astype(np.float32) / 32768).tolist()
    assert_equal_states(said(floats[:9000], floats[9000:]), expected)
    # Also side by side, and one channel beside two of the same.
    assert_equal_states(said(quiet[:9000], floats[9000:]), expected)
    pairs = np.stack((quiet, quiet), axis=1)
    assert_equal_states(said(quiet[:5000], pairs[5000:9000], floats[9000:]), expected)


@pytest.mark.parametrize("rate", [-1, 0, None, 999, 10**7, 16_000.5, "16000", float("nan"), True])
def test_F23_an_impossible_rate_is_refused(translate: Any, rate: Any) -> None:
    with pytest.raises(AudioFormatError, match="sample rate is"):
        hear(translate(), audio(0.1), rate=rate)


def wav(folder: Path, name: str = "whole.wav") -> Path:
    path = folder / name
    soundfile.write(path, audio(0.3), SAMPLE_RATE)
    return path


def damaged(kind: str, folder: Path) -> Path:
    path = wav(folder, f"{kind}.wav")
    data = path.read_bytes()
    if kind == "missing":
        path.unlink()
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind == "text":
        path.write_text("this is no audio\n" * 20)
    elif kind == "unreadable":
        path.chmod(0)
    else:
        path.write_bytes(
            data[: {"cut": 5000, "header": 30, "nothing": 0, "odd": len(data) - 1}[kind]]
        )
    return path


@pytest.mark.parametrize(
    "kind", ["cut", "header", "nothing", "odd", "text", "missing", "folder", "unreadable"]
)
def test_F24_bad_files_are_named(tmp_path: Path, kind: str) -> None:
    path = damaged(kind, tmp_path)
    if kind == "unreadable" and os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(AudioFormatError, match=str(path)):
        read_audio(path)


def test_F24_odd_names_and_wrong_endings_are_read(tmp_path: Path) -> None:
    for name in ("a b.wav", "señal — 音.wav", "100%.wav", "'quoted'.wav"):
        assert read_audio(wav(tmp_path, name))[1] == SAMPLE_RATE
    flac = wav(tmp_path, "x.flac").rename(tmp_path / "named.wav")
    assert read_audio(flac)[0].size == 4800


def test_F24_a_batch_names_the_line_before_it_begins(tmp_path: Path) -> None:
    good, bad = wav(tmp_path), damaged("cut", tmp_path)
    (tmp_path / "list").write_text(f"{good}\n{bad}\n{good}\n")
    (tmp_path / "references").write_text("a\nb\nc\n")
    with pytest.raises(AudioFormatError, match=r"list, line 2: audio file '.*cut\.wav'"):
        read_sources(tmp_path / "list", tmp_path / "references")


def test_F25_raw_bytes_are_refused_with_advice(translate: Any) -> None:
    data = INT16.tobytes()
    for raw in (data, data[:-1], bytearray(data), memoryview(data), b""):
        with pytest.raises(AudioFormatError, match="numpy.frombuffer"):
            translate().step(raw, SAMPLE_RATE, translate().init_state(), is_final=False)
    with pytest.raises(AudioFormatError, match="uint8"):
        hear(translate(), np.frombuffer(data, np.uint8))
