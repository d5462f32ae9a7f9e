"""``to_bytes`` and ``restore``: a stream goes on elsewhere, or the state is refused."""

import copy
from typing import Any

import pytest
import torch

from echostream.codec import encode
from echostream.encoder.stream_state import StreamState
from echostream.encoder.zipformer import ZipformerEncoder
from echostream.errors import StateMismatchError

from .small_encoder import INPUT_DIM, fresh_encoder, noise, small_encoder
from .subjects import SUBJECTS, Subject

CHUNKING: dict[str, Any] = {"chunk_size": 24, "left_context": 8, "max_future_frames": 1}
FLOAT = torch.float32

portable = pytest.mark.parametrize(
    "subject",
    [
        pytest.param(subject, id=name)
        for name, subject in SUBJECTS.items()
        if subject.make().capabilities.portable_state
    ],
)


def heard(encoder: ZipformerEncoder) -> StreamState:
    features = noise(1, 77, INPUT_DIM, dtype=FLOAT)
    return encoder.step(features, encoder.init_state(**CHUNKING))[2]


def saved() -> bytes:
    encoder = small_encoder(4, FLOAT)
    return heard(encoder).to_bytes(encoder.fingerprint())


@portable
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_stream_goes_on_to_the_bit(subject: Subject, dtype: torch.dtype) -> None:
    for encoder, chunking in subject.each(dtype):
        features = noise(2, 230, encoder.input_dim, dtype=dtype)
        counts = torch.tensor([77, 100])
        state = encoder.step(features[:, :100], encoder.init_state(2, **chunking), counts)[2]
        data = state.to_bytes(encoder.fingerprint())
        # By an equal encoder elsewhere.
        again = copy.deepcopy(encoder).restore(data)
        assert all(getattr(again, name) == getattr(state, name) for name in state.chunking)
        y1, n1, after1 = encoder.step(features[:, 100:], state, is_final=True)
        y2, n2, after2 = encoder.step(features[:, 100:], again, is_final=True)
        assert torch.equal(y1, y2) and torch.equal(n1, n2)
        assert after1.to_bytes("") == after2.to_bytes("")
        assert again.to_bytes(encoder.fingerprint()) == data


def test_tensors_that_do_not_fit_are_named() -> None:
    encoder = small_encoder(4, FLOAT)
    state = heard(encoder)
    wrong = {
        "memory.groups": state.map(lambda n, t: t[:, 1:] if n == "memory.groups" else t),
        "stem.features": state.map(lambda n, t: t.double() if n == "stem.features" else t),
        "stacks.5": state.replaced(stacks=state.stacks[:-1]),
        "pending": state.replaced(chunk_size=16),
    }
    for name, each in wrong.items():
        with pytest.raises(StateMismatchError, match=name):
            encoder.restore(each.to_bytes(encoder.fingerprint()))
    with pytest.raises(StateMismatchError, match="is a list"):
        encoder.restore(encode([state], "stream state", encoder.fingerprint()))


def change_by_one_bit(encoder: ZipformerEncoder) -> None:
    bias = encoder.stacks[3].layers[0].convolution1.past_taps.bias  # type: ignore[union-attr,index]
    with torch.no_grad():
        bias[0] = torch.nextafter(bias[0], torch.tensor(100.0))


def load_others(encoder: ZipformerEncoder) -> None:
    encoder.load_state_dict(fresh_encoder(1).state_dict())


def write_through_data(encoder: ZipformerEncoder) -> None:
    """Which does not count as a new version of a tensor in torch."""
    encoder.stem.norm.bias.data += 1.0


@pytest.mark.fault("F36")
@pytest.mark.parametrize(
    "change",
    [
        change_by_one_bit,
        load_others,
        write_through_data,
        ZipformerEncoder.double,
        ZipformerEncoder.bfloat16,
    ],
)
def test_other_weights_are_refused(change: Any) -> None:
    encoder = fresh_encoder()
    encoder.restore(saved())
    change(encoder)
    with pytest.raises(StateMismatchError, match="fingerprint"):
        encoder.restore(saved())


@pytest.mark.fault("F36")
@pytest.mark.parametrize(
    "changes", [{"memory_segment": 24}, {"memory_size": 3}, {"chunk_size": 8}], ids=str
)
def test_another_configuration_is_refused(changes: dict[str, Any]) -> None:
    """Also one with the same weights, name by name."""
    with pytest.raises(StateMismatchError, match="fingerprint"):
        StreamState.from_bytes(saved(), fresh_encoder(**changes))


def test_fingerprint_is_the_same_in_every_mode() -> None:
    encoder = fresh_encoder()
    expected = encoder.fingerprint()
    with torch.inference_mode():
        assert encoder.fingerprint() == expected
    assert encoder.train().requires_grad_(False).fingerprint() == expected
    assert fresh_encoder().fingerprint() == expected
