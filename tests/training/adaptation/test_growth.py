"""A student that is grown from a smaller encoder hears what that one hears."""

import dataclasses

import pytest
import torch

from echostream.config import AudioConfig, SystemConfig
from echostream.encoder.whisper import WhisperEncoder
from echostream.errors import ConfigError
from echostream.model import SpeechModel
from echostream.training.adaptation.growth import grow
from echostream.training.adaptation.student import Student
from tests.small_system import ENCODER, WHISPER


def model(**changes: object) -> SpeechModel:
    torch.manual_seed(1)
    encoder = dataclasses.replace(ENCODER, **changes)
    made = SpeechModel(SystemConfig(asr_vocab_size=30, st_vocab_size=20, encoder=encoder)).eval()
    with torch.no_grad():
        for tensor in made.parameters():
            tensor.add_(0.02 * torch.randn_like(tensor))
        made.cmvn_mean.normal_(mean=-4.0)
    return made


def student(**changes: object) -> Student:
    torch.manual_seed(2)
    encoder = dataclasses.replace(ENCODER, **changes)
    config = SystemConfig(asr_vocab_size=30, st_vocab_size=21, encoder=encoder)
    teacher = SpeechModel(WHISPER).encoder
    assert isinstance(teacher, WhisperEncoder)
    made = Student(config, teacher).eval()
    assert not made.feature_mean.any()
    return made


def test_what_is_new_does_nothing_at_first() -> None:
    smaller = model()
    grown = student(ffn_dim=48, num_layers_per_stack=(1, 2, 3, 1, 2, 1))
    grow(grown, smaller)
    new = [stack.layers[1:] for stack in grown.encoder.stacks]
    scales = [layer.bypass.scale for layers in new for layer in layers]
    assert len(scales) == 4 and all(0.0 < float(scale.detach().max()) < 0.1 for scale in scales)
    features = torch.randn(1, 200, 80) - 4.0
    # What it hears at first says nothing about what it was grown to hear.
    grown.begin([features[0] + 9.0], [torch.randn(100, grown.output_dim)], grown.spread)
    with torch.no_grad():
        for scale in scales:
            scale.zero_()
        normal = torch.from_numpy(smaller.cmvn(features[0].numpy()))[None]
        expected = smaller.heads["asr"](smaller.encoder(normal, chunk_size=32)["encoder_out"])
        found = grown(features, chunk_size=32)["asr"]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    old, fresh = smaller.heads, grown.heads
    assert torch.equal(fresh["asr"].projection.weight, old["asr"].projection.weight)
    assert not torch.equal(fresh["st"].projection.weight[:21], old["st"].projection.weight)


@pytest.mark.parametrize(
    "changes",
    [
        {"ffn_dim": 16},
        {"embed_dim": (16, 16, 24, 32, 24, 16)},
        {"conv_kernel": 63},
    ],
)
def test_a_student_that_is_no_larger_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="expected a student with the same channels"):
        grow(student(**changes), model())


def test_a_smaller_encoder_with_more_layers_or_other_features_is_refused() -> None:
    with pytest.raises(ConfigError, match="no such tensor"):
        grow(student(), model(num_layers_per_stack=2))
    smaller = model()
    smaller.config = dataclasses.replace(smaller.config, audio=AudioConfig(features="whisper"))
    with pytest.raises(ConfigError, match="is 'whisper', of the student 'kaldi'"):
        grow(student(), smaller)
