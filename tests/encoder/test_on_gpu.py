"""On a GPU: streams equal the whole recording there too, and both are what the CPU gives."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from echostream.config import load_config
from echostream.encoder import StreamState
from echostream.model import SpeechModel

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(autouse=True)
def full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions in float32, as the agent sets it; PyTorch has them in TF32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture(params=["tiny", "streamspeech-tiny"])
def model(request: pytest.FixtureRequest) -> SpeechModel:
    """Random weights on the CPU."""
    torch.manual_seed(3)
    return SpeechModel(load_config(CONFIGS / f"{request.param}.yaml")).eval()


def streamed(model: SpeechModel, features: Tensor) -> Tensor:
    """The encoder's output for segments of any length, the state stored once on the way."""
    encoder = model.encoder
    state = encoder.init_state(len(features))
    outputs = []
    cuts = [0, 7, 100, 101, 250, features.shape[1]]
    for number, (start, end) in enumerate(zip(cuts, cuts[1:], strict=False)):
        final = end == features.shape[1]
        y, _, state = encoder.step(features[:, start:end], state, is_final=final)
        outputs.append(y)
        if number == 2 and isinstance(state, StreamState):
            state = state.to("cpu").to(features.device)
    return torch.cat(outputs, dim=1)


@torch.no_grad()
def test_streams_equal_the_whole_recording_and_the_cpu(model: SpeechModel) -> None:
    features = torch.randn(2, 320, 80)
    expected = model.encoder(features)["encoder_out"]
    model.cuda()
    whole = model.encoder(features.cuda())["encoder_out"]
    torch.testing.assert_close(streamed(model, features.cuda()), whole, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(whole.cpu(), expected, rtol=1e-3, atol=1e-3)
