"""A whole adaptation: resumed, better than before, exported."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from echostream.config import SystemConfig
from echostream.config_whisper import TextDecoderConfig, WhisperEncoderConfig
from echostream.model import SpeechModel, load_model, save_model
from echostream.training.adaptation import export as export_module
from echostream.training.adaptation.export import export_adaptation
from echostream.training.adaptation.run import AdaptationOptions, adaptation_arguments
from echostream.training.adaptation.windows import find_recordings
from echostream.training.fairseq_run import run_fairseq
from echostream.training.run_record import read_history

from .test_windows import write_tones

pytest.importorskip("fairseq", reason="fairseq is not installed")

SYSTEM = SystemConfig(
    asr_vocab_size=0,
    st_vocab_size=0,
    encoder=WhisperEncoderConfig(embed_dim=16, num_layers=1, num_heads=2, ffn_dim=16),
    text_decoder=TextDecoderConfig(
        vocab_size=20, embed_dim=16, num_layers=1, num_heads=2, ffn_dim=16
    ),
)
OPTIONS = AdaptationOptions(updates=6, warmup=1, peak_rate=1e-2, save_every=3)
SMALL = ("--valid-windows", "1", "--epoch-windows", "4", "--num-workers", "0")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of random weights, and recordings beside it."""
    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    save_model(SpeechModel(SYSTEM), folder / "small-whisper")
    write_tones(folder / "audio", 70)
    return folder


def run(base: Path, output: Path, **changes: object) -> None:
    options = dataclasses.replace(OPTIONS, **changes)  # type: ignore[arg-type]
    arguments = adaptation_arguments(base / "small-whisper", [base / "audio"], output, options)
    output.mkdir(exist_ok=True)
    run_fairseq([*arguments, *SMALL])


def test_a_resumed_run_ends_like_one_that_was_not(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(base, tmp_path / "whole")
    run(base, tmp_path / "halves", minutes=1e-9)
    first = read_history(tmp_path / "halves", "held out")[-1]["update"]
    assert first < 6
    run(base, tmp_path / "halves")
    whole, halves = (read_history(tmp_path / name, "held out")[-1] for name in ("whole", "halves"))
    assert whole == halves and whole["update"] == 6
    begun = read_history(tmp_path / "whole", "held out")[0]
    assert whole["error_16"] < begun["error_16"]

    monkeypatch.setattr(export_module, "POSITION_WINDOWS", 3)
    recordings = find_recordings([base / "audio"])
    output = base / "adapted"
    export_adaptation(tmp_path / "whole", base / "small-whisper", recordings, output)
    before, after = load_model(base / "small-whisper"), load_model(output)
    table = after.encoder.position_mean
    assert table.any() and torch.equal(table, after.text_decoder.source_positions)
    assert not torch.equal(before.encoder.conv1.weight, after.encoder.conv1.weight)
    assert torch.equal(before.text_decoder.positions, after.text_decoder.positions)
    # With the table taken out, what is left has no mean of its own.
    assert after.text_decoder.silence.any()
