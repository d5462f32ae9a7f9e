"""The codec of saved states: what comes back is what went in, or the bytes are refused."""

import gc
import json
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.codec import FORMAT, decode, encode
from echostream.errors import StateMismatchError

FINGERPRINT = "of this system"


@dataclass(frozen=True)
class Node:
    left: Any
    right: Any = None


class Stranger:
    """No dataclass."""


plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4)
trees = st.recursive(
    plain | st.binary(max_size=4),
    lambda inner: (
        st.builds(Node, inner, inner)
        | st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


def saved() -> bytes:
    tree = Node((torch.arange(5.0), [1, "a", b"\0"]), {"b": np.zeros((2, 3)), "c": ()})
    return encode(tree, "tree", FINGERPRINT)


@settings(deadline=None, max_examples=200)
@given(tree=trees)
def test_what_comes_back_is_what_went_in(tree: Any) -> None:
    again = decode(encode(tree, "tree"), "tree")
    assert again == tree
    assert repr(again) == repr(tree), "also of the same types"


def test_copies_of_tensors_go_at_once() -> None:
    def tensors() -> int:
        return sum(type(each) is torch.Tensor for each in gc.get_objects())

    tree = Node([torch.zeros(5)] * 3, np.zeros(2))
    encode(tree, "tree")
    gc.collect()
    gc.disable()
    try:
        before = tensors()
        encode(tree, "tree")
        assert tensors() == before, "they wait for a search for cycles"
    finally:
        gc.enable()


def test_tensors_and_arrays_come_back_to_the_bit() -> None:
    shared = torch.tensor([[1.0, float("nan")], [-0.0, 1e-40]])
    tensors = [shared, shared.T, shared.half(), torch.tensor(True), torch.zeros(0, 3).long()]
    arrays = [np.array([0.1, np.inf]), np.zeros((2, 0), np.int16)]
    again = decode(encode((tensors, arrays), "tree"), "tree")
    for one, other in zip(tensors, again[0], strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape
        assert torch.equal(one.nan_to_num(5.0), other.nan_to_num(5.0))
    for one, other in zip(arrays, again[1], strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_the_header_is_json_and_says_whose_it_is() -> None:
    data = saved()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    described = json.loads(header["__metadata__"]["echostream"])
    assert (described["format"], described["fingerprint"]) == (FORMAT, FINGERPRINT)
    with pytest.raises(StateMismatchError, match="fingerprint 'of this system'; expected ''"):
        decode(data, "tree")


@pytest.mark.parametrize("value", [Stranger(), {1: 2}, {1, 2}, Node(object()), 1j])
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(StateMismatchError, match="the saved tree would hold a"):
        encode(value, "tree")


@pytest.mark.fault("F37")
def test_every_damage_is_seen() -> None:
    data = saved()
    for place in range(len(data)):
        altered = bytearray(data)
        altered[place] ^= 1 << place % 8
        with pytest.raises(StateMismatchError, match="truncated or altered"):
            decode(bytes(altered), "tree", FINGERPRINT)
        with pytest.raises(StateMismatchError, match="truncated or altered"):
            decode(data[:place], "tree", FINGERPRINT)


def sealed(body: bytes) -> bytes:
    return body + zlib.crc32(body).to_bytes(4, "little")


@settings(deadline=None, max_examples=60)
@given(garbage=st.binary(min_size=8, max_size=200))
def test_garbage_with_a_checksum_is_refused(garbage: bytes) -> None:
    with pytest.raises(StateMismatchError, match="are not a saved tree"):
        decode(sealed(garbage), "tree")


GOOD = {"format": FORMAT, "fingerprint": "", "tree": 1}
UNKNOWN = {"$": "class", "class": "os:PathLike", "fields": {}}


@pytest.mark.parametrize(
    "header",
    [
        None,
        "not JSON",
        "{}",
        "[]",
        "3",
        json.dumps(GOOD | {"format": "echostream-state-0"}),
        json.dumps(GOOD | {"tree": {"$": "tensor", "name": "missing"}}),
        json.dumps(GOOD | {"tree": {"$": "unknown"}}),
        json.dumps(GOOD | {"tree": UNKNOWN}),
        json.dumps(GOOD | {"tree": UNKNOWN | {"class": "not.imported:Thing"}}),
        json.dumps(GOOD | {"tree": UNKNOWN | {"class": f"{__name__}:Node"}}),
    ],
    ids=[
        *("none", "no JSON", "empty", "list", "number", "version", "tensor", "tag"),
        *("no dataclass", "not loaded", "fields"),
    ],
)
def test_a_safetensors_file_of_something_else_is_refused(header: str | None) -> None:
    metadata = None if header is None else {"echostream": header}
    body = safetensors.torch.save({"x": torch.zeros(3)}, metadata=metadata)
    with pytest.raises(StateMismatchError, match="are not a saved tree"):
        decode(sealed(body), "tree")
