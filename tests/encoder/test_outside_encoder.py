"""The encoder of docs/extending.md: found by its path, streamed, saved and loaded."""

import importlib
from pathlib import Path

import pytest
import torch

from echostream.config import SystemConfig, from_mapping
from echostream.encoder import registry
from echostream.errors import ConfigError
from echostream.model import SpeechModel, load_model, save_model
from tests.test_documents import ROOT, python_blocks

OUTSIDE = dict(python_blocks(ROOT / "docs" / "extending.md"))["every_fourth.py"]
"""Every fourth feature frame, projected: an encoder of 40 ms frames without any context."""

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
