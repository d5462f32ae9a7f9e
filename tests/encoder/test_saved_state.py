"""``to_bytes`` and ``from_bytes``: a stream goes on elsewhere, or the bytes are refused."""

from __future__ import annotations

import functools
import json
import zlib
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.encoder.chunk_state import FORMAT
from echostream.encoder.stream_state import StreamState
from echostream.encoder.zipformer import ZipformerEncoder
from echostream.errors import StateMismatchError

from .small_encoder import INPUT_DIM, noise, randomise, small_config, small_encoder

CHUNKING: dict[str, Any] = {"chunk_size": 24, "left_context": 8, "max_future_frames": 1}
FLOAT = torch.float32


def fresh_encoder(**changes: Any) -> ZipformerEncoder:
    """Same weights as ``small_encoder`` but free to be changed."""
    encoder = ZipformerEncoder.from_config(small_config(**changes))
    randomise(encoder)
    return encoder.eval()


@functools.cache
def saved(frames: int = 77, batch: int = 1, **chunking: Any) -> bytes:
    encoder = small_encoder(4, FLOAT)
    features = noise(batch, frames, INPUT_DIM, dtype=FLOAT)
    state = encoder.step(features, encoder.init_state(batch, **(CHUNKING | chunking)))[2]
    return state.to_bytes(encoder.fingerprint())


def with_checksum(body: bytes) -> bytes:
    return body + zlib.crc32(body).to_bytes(4, "little")


@pytest.mark.parametrize("memory", [0, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "chunking", [CHUNKING, CHUNKING | {"max_future_frames": None, "left_context": 0}]
)
def test_a_stream_goes_on_to_the_bit(
    memory: int, dtype: torch.dtype, chunking: dict[str, Any]
) -> None:
    encoder = small_encoder(memory, dtype)
    features = noise(2, 230, INPUT_DIM, dtype=dtype)
    counts = torch.tensor([77, 100])
    state = encoder.step(features[:, :100], encoder.init_state(2, **chunking), counts)[2]
    data = state.to_bytes(encoder.fingerprint())
    again = StreamState.from_bytes(data, encoder)
    assert (again.chunk_size, again.left_context, again.max_future_frames) == (
        state.chunk_size,
        state.left_context,
        state.max_future_frames,
    )
    others = dict(again.named_tensors())
    assert list(others) == [name for name, _ in state.named_tensors()]
    for name, tensor in state.named_tensors():
        assert torch.equal(tensor, others[name]) and tensor.dtype == others[name].dtype, name
    y1, n1, _ = encoder.step(features[:, 100:], state, is_final=True)
    y2, n2, _ = encoder.step(features[:, 100:], again, is_final=True)
    assert torch.equal(y1, y2) and torch.equal(n1, n2)
    assert again.to_bytes(encoder.fingerprint()) == data


def test_an_equal_encoder_elsewhere_takes_it() -> None:
    state = StreamState.from_bytes(saved(), fresh_encoder())
    assert state.processed_frames.tolist() == [24]


def test_the_bytes_are_no_pickle() -> None:
    data = saved()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    described = json.loads(header["__metadata__"]["echostream"])
    assert described["format"] == FORMAT
    assert described["batch_size"] == 1
    assert described["chunking"] == CHUNKING


@pytest.mark.fault("F37")
@settings(deadline=None, max_examples=100)
@given(st.data())
def test_an_altered_byte_is_refused(data: st.DataObject) -> None:
    whole = bytearray(saved())
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(StateMismatchError, match="truncated or altered"):
        StreamState.from_bytes(bytes(whole), small_encoder(4, FLOAT))


@pytest.mark.fault("F37")
@settings(deadline=None, max_examples=60)
@given(st.data())
def test_truncated_bytes_are_refused(data: st.DataObject) -> None:
    whole = saved()
    length = data.draw(st.one_of(st.integers(0, 20), st.integers(0, len(whole) - 1)))
    with pytest.raises(StateMismatchError):
        StreamState.from_bytes(whole[:length], small_encoder(4, FLOAT))


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=200), st.booleans())
def test_garbage_is_refused(garbage: bytes, checksum: bool) -> None:
    with pytest.raises(StateMismatchError):
        StreamState.from_bytes(
            with_checksum(garbage) if checksum else garbage, small_encoder(4, FLOAT)
        )


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"other": "{}"},
        {"echostream": "not JSON"},
        {"echostream": "{}"},
        {"echostream": "[]"},
        {"echostream": "3"},
        {"echostream": '{"batch_size": null}'},
    ],
    ids=str,
)
def test_a_safetensors_file_of_something_else_is_refused(metadata: dict[str, str] | None) -> None:
    body = safetensors.torch.save({"x": torch.zeros(3)}, metadata=metadata)
    with pytest.raises(StateMismatchError):
        StreamState.from_bytes(with_checksum(body), small_encoder(4, FLOAT))


def rewritten(change_tensors: Any = None, **header_changes: Any) -> bytes:
    """A saved state with another header or other tensors and a right checksum."""
    body = saved()[:-4]
    tensors = safetensors.torch.load(body)
    raw = json.loads(body[8 : 8 + int.from_bytes(body[:8], "little")])
    header = json.loads(raw["__metadata__"]["echostream"]) | header_changes
    if change_tensors is not None:
        change_tensors(tensors)
    return with_checksum(
        safetensors.torch.save(tensors, metadata={"echostream": json.dumps(header)})
    )


def test_rewriting_alone_changes_nothing() -> None:
    StreamState.from_bytes(rewritten(), small_encoder(4, FLOAT))


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "echostream-stream-state-0"},
        {"fingerprint": "0" * 64},
        {"batch_size": 2},
        {"chunking": CHUNKING | {"chunk_size": 16}},
        {"chunking": CHUNKING | {"left_context": 16}},
    ],
    ids=str,
)
def test_a_header_that_does_not_fit_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(StateMismatchError, match="expected"):
        StreamState.from_bytes(rewritten(**changes), small_encoder(4, FLOAT))


def drop_memory(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["memory.groups"]


def shorten_stem(tensors: dict[str, torch.Tensor]) -> None:
    tensors["stem.features"] = tensors["stem.features"][:, 1:].contiguous()


def widen_pending(tensors: dict[str, torch.Tensor]) -> None:
    tensors["pending"] = tensors["pending"].double()


@pytest.mark.parametrize(
    "change, name",
    [
        (drop_memory, "memory.groups"),
        (shorten_stem, "stem.features"),
        (widen_pending, "pending"),
    ],
)
def test_tensors_that_do_not_fit_are_named(change: Any, name: str) -> None:
    with pytest.raises(StateMismatchError, match=name):
        StreamState.from_bytes(rewritten(change), small_encoder(4, FLOAT))


def refuses(encoder: ZipformerEncoder) -> None:
    with pytest.raises(StateMismatchError, match="fingerprint"):
        StreamState.from_bytes(saved(), encoder)


@pytest.mark.fault("F36")
def test_other_weights_are_refused() -> None:
    """Even by one bit in one of them."""
    encoder = fresh_encoder()
    StreamState.from_bytes(saved(), encoder)
    with torch.no_grad():
        bias = encoder.stacks[3].layers[0].convolution1.past_taps.bias  # type: ignore[union-attr,index]
        bias[0] = torch.nextafter(bias[0], torch.tensor(100.0))
    refuses(encoder)


def test_weights_loaded_later_are_refused() -> None:
    encoder = fresh_encoder()
    encoder.fingerprint()
    other = ZipformerEncoder.from_config(small_config())
    randomise(other, seed=1)
    encoder.load_state_dict(other.state_dict())
    refuses(encoder)


def test_weights_changed_through_data_are_refused() -> None:
    """Writing through ``.data`` does not count as a new version of a tensor in torch."""
    encoder = fresh_encoder()
    encoder.fingerprint()
    encoder.stem.norm.bias.data += 1.0
    refuses(encoder)


def test_the_same_encoder_in_another_precision_is_refused() -> None:
    with pytest.raises(StateMismatchError):
        StreamState.from_bytes(saved(), fresh_encoder().double())


@pytest.mark.fault("F36")
@pytest.mark.parametrize(
    "changes", [{"memory_segment": 24}, {"memory_size": 3}, {"chunk_size": 8}], ids=str
)
def test_another_configuration_is_refused(changes: dict[str, Any]) -> None:
    """Also one with the same weights, name by name."""
    refuses(fresh_encoder(**changes))


def test_fingerprint_in_half_precision() -> None:
    encoder = fresh_encoder()
    assert encoder.bfloat16().fingerprint() != small_encoder(4, FLOAT).fingerprint()


def test_fingerprint_is_the_same_in_every_mode() -> None:
    encoder = fresh_encoder()
    expected = encoder.fingerprint()
    with torch.inference_mode():
        assert encoder.fingerprint() == expected
    assert encoder.train().requires_grad_(False).fingerprint() == expected
    assert fresh_encoder().fingerprint() == expected
