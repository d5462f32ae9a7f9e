"""The head that tells speech learns it from recordings whose pauses are known."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from echostream.config import AudioConfig
from echostream.errors import CheckpointError
from echostream.model import load_model
from echostream.model.checkpoint import save_difference
from echostream.training.adaptation.voice_activity import add_voice_activity, speech_in
from echostream.training.adaptation.windows import (
    WINDOW_SAMPLES,
    Spoken,
    Window,
    WindowMaker,
    find_recordings,
)
from tests.small_system import WHISPER, make_checkpoint, make_whisper

from .test_windows import write_tones


def test_speech_is_where_a_recording_is_loud() -> None:
    clean = np.zeros(WINDOW_SAMPLES, np.float32)
    tone = np.sin(np.arange(32000) * 0.3).astype(np.float32)
    clean[16000:48000] = 0.5 * tone
    clean[20000:22400] = 0.0  # 0.15 s, inside a word
    clean[30000:38000] *= 0.005  # -46 dB for half a second
    clean[80000:112000] = 0.001 * tone  # a quiet speaker is one too
    noisy = clean + np.random.default_rng(0).normal(0, 0.1, clean.size).astype(np.float32)
    spoken = tuple(Spoken(Path("a"), begin, begin + 32000, True) for begin in (16000, 80000))
    found = speech_in(Window(noisy, spoken, WINDOW_SAMPLES, clean))
    expected = np.zeros(WINDOW_SAMPLES // 320, bool)
    expected[50:150] = expected[250:350] = True
    expected[94:118] = False
    wrong = np.flatnonzero(found != expected)
    assert set(wrong) <= {93, 94, 117, 118}  # where a frame is half and half


@pytest.mark.parametrize("as_difference", [True, False])
def test_a_new_checkpoint_has_the_head_and_the_old_one_is_as_it_was(
    tmp_path: Path, as_difference: bool
) -> None:
    torch.manual_seed(0)
    folder = base = tmp_path / "small-whisper"
    make_whisper(base, dataclasses.replace(WHISPER, audio=AudioConfig(features="whisper")))
    if as_difference:
        model, folder = load_model(base), tmp_path / "student"
        folder.mkdir()
        torch.nn.init.normal_(model.encoder.conv1.weight, std=0.1)
        save_difference(model, base, folder)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    write_tones(tmp_path / "audio", 20)
    maker = WindowMaker(find_recordings([tmp_path / "audio"]).train, 1)
    found = add_voice_activity(folder, maker, 12, tmp_path / "hearing")
    # Others may stand on it.
    assert all(path.read_bytes() == before for path, before in files.items())
    kept = load_model(tmp_path / "hearing").state_dict()
    assert kept.pop("text_decoder.voice_activity.weight").any()
    kept.pop("text_decoder.voice_activity.bias")
    for name, value in load_model(folder).state_dict().items():
        assert torch.equal(kept.pop(name), value), name
    assert not kept
    # Better than chance, though the encoder has random weights.
    assert found.missed + found.false < 0.9
    again = add_voice_activity(tmp_path / "hearing", maker, 12, tmp_path / "again")
    assert again.missed == pytest.approx(found.missed, abs=0.02)


def test_without_a_text_decoder_there_is_nothing_to_teach(tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "ctc")
    write_tones(tmp_path / "audio", 4)
    maker = WindowMaker(find_recordings([tmp_path / "audio"]).train, 1)
    with pytest.raises(CheckpointError, match="has no text decoder"):
        add_voice_activity(tmp_path / "ctc", maker, 12, tmp_path / "out")
