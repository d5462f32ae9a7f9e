"""An encoder from one file outside the project: found by its path, streamed, saved and loaded."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch

from echostream.config import SystemConfig, from_mapping
from echostream.encoder import registry
from echostream.errors import ConfigError
from echostream.model import SpeechModel, load_model, save_model

OUTSIDE = '''\
"""Every fourth feature frame, projected: an encoder of 40 ms frames without any context."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from echostream.encoder.protocol import Capabilities
from echostream.encoder.state import EncoderState


@dataclass(frozen=True)
class Waiting(EncoderState):
    processed_frames: torch.Tensor
    pending: torch.Tensor
    chunk_size: int


class EveryFourth(nn.Module):
    capabilities = Capabilities()
    frame_ms, chunk_multiple, input_dim = 40, 1, 80

    def __init__(self, output_dim=16, chunk_size=8):
        super().__init__()
        self.output_dim, self.chunk_size = output_dim, chunk_size
        self.projection = nn.Linear(self.input_dim, output_dim)

    def forward(self, features, lengths=None):
        y = self.projection(features[:, 3::4])
        lengths = torch.full((len(y),), features.shape[1]) if lengths is None else lengths
        return {"encoder_out": y, "encoder_out_lengths": lengths // 4}

    def init_state(self, batch_size=1, *, chunk_size=None):
        waiting = torch.zeros(batch_size, 0, self.input_dim)
        return Waiting(torch.zeros(batch_size).long(), waiting, chunk_size or self.chunk_size)

    def step(self, features, state, lengths=None, *, is_final=False):
        heard = torch.cat((state.pending, features), dim=1)
        unit = 4 if is_final else 4 * state.chunk_size
        used = heard.shape[1] // unit * unit
        y = self.projection(heard[:, 3:used:4])
        count = torch.full_like(state.processed_frames, y.shape[1])
        count_so_far = state.processed_frames + count
        return y, count, replace(state, processed_frames=count_so_far, pending=heard[:, used:])
'''
SYSTEM = {
    "encoder": {"name": "every_fourth:EveryFourth", "options": {"output_dim": 24}},
    "policy": {"name": "offline"},
}


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SpeechModel:
    (tmp_path / "every_fourth.py").write_text(OUTSIDE)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    return SpeechModel(from_mapping(SystemConfig, SYSTEM)).eval()


def test_an_encoder_from_outside_streams_and_is_saved(model: SpeechModel, tmp_path: Path) -> None:
    assert OUTSIDE.count("\n") <= 45
    features = torch.randn(1, 203, 80)
    whole = model.encoder(features)["encoder_out"]
    state, parts = model.encoder.init_state(), []
    for piece in (*features.split(37, dim=1), features[:, :0]):
        y, _, state = model.encoder.step(piece, state, is_final=piece.shape[1] == 0)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)
    save_model(model, tmp_path / "checkpoint")
    again = load_model(tmp_path / "checkpoint")
    assert again.fingerprint() == model.fingerprint()
    assert model.heads["st"](whole).shape == (1, 50, 257)


def test_what_is_not_an_encoder_is_refused(model: SpeechModel) -> None:
    for name, options, message in (
        ("every_fourth:EveryFourth", {"width": 3}, "no option 'width'"),
        (f"{__name__}:Mute", {}, "lacks capabilities"),
        ("every_fourth:Nothing", {}, "has no 'Nothing'"),
    ):
        config = from_mapping(SystemConfig, {"encoder": {"name": name, "options": options}})
        with pytest.raises(ConfigError, match=message):
            registry.create(config.encoder)


class Mute(torch.nn.Module):
    """Says nothing about itself."""

    def init_state(self) -> None: ...
    def step(self) -> None: ...
