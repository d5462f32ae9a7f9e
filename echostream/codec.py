"""One codec for everything a stream carries: trees of tensors and plain values as bytes.

A tree is made of frozen dataclasses, tuples, lists, mappings with words as keys, tensors, numpy
arrays, bytes, numbers, words and ``None``. What is restored equals what was saved, bit for bit. The
body is safetensors with a JSON header, which holds the tree and the fingerprint of the system that
saved it, and a checksum behind it.

Restoring never imports and never unpickles: a dataclass is looked up among the modules that are
loaded already, so the system that saved a stream has to be built before it is restored.
"""

import dataclasses
import json
import sys
import zlib
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from echostream.errors import StateMismatchError

FORMAT = "echostream-state-1"
_TENSOR, _ARRAY, _BYTES = "tensor", "array", "bytes"
_CLASS, _MAPPING, _TUPLE = "class", "mapping", "tuple"
_TAG = "$"
_KEY = "echostream"
_CHECKSUM_BYTES = 4
# A safetensors body begins with the length of its JSON part.
_LENGTH_BYTES = 8


def encode(tree: Any, what: str, fingerprint: str = "") -> bytes:
    """The tree as bytes.

    Args:
        tree: see above.
        what: names it in messages.
        fingerprint: of the system that the tree is of; only one with the same can restore it.

    Raises:
        StateMismatchError: for a value of another kind.
    """
    tensors: dict[str, Tensor] = {}
    header = {"format": FORMAT, "fingerprint": fingerprint, "tree": _plain(tree, tensors, what)}
    # One entry, since safetensors writes several in random order.
    body = safetensors.torch.save(tensors, metadata={_KEY: json.dumps(header)})
    return body + _checksum(body)


def _plain(value: Any, tensors: dict[str, Tensor], what: str) -> Any:
    """What JSON can say of a value; its tensors go into ``tensors``.

    No function within :func:`encode`: one that calls itself would hold them until Python looks for
    cycles, which it seldom does.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        return _kept(_TENSOR, value, tensors)
    if isinstance(value, np.ndarray):
        return _kept(_ARRAY, torch.from_numpy(np.ascontiguousarray(value)), tensors)
    if isinstance(value, bytes):
        return _kept(_BYTES, torch.from_numpy(np.frombuffer(value, np.uint8).copy()), tensors)
    if isinstance(value, list):
        return [_plain(each, tensors, what) for each in value]
    if isinstance(value, tuple):
        return {_TAG: _TUPLE, "items": [_plain(each, tensors, what) for each in value]}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        items = [[key, _plain(each, tensors, what)] for key, each in value.items()]
        return {_TAG: _MAPPING, "items": items}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.init]
        return {
            _TAG: _CLASS,
            "class": f"{type(value).__module__}:{type(value).__qualname__}",
            "fields": {name: _plain(getattr(value, name), tensors, what) for name in names},
        }
    raise StateMismatchError(
        f"the saved {what} would hold a {type(value).__name__}; expected frozen dataclasses, "
        "tuples, lists, mappings with words as keys, tensors, arrays, numbers and words"
    )


def _kept(kind: str, tensor: Tensor, tensors: dict[str, Tensor]) -> dict[str, str]:
    name = str(len(tensors))
    # Shared memory is saved as often as it is met: safetensors would refuse it.
    tensors[name] = tensor.detach().cpu().clone().contiguous()
    return {_TAG: kind, "name": name}


def decode(data: bytes, what: str, fingerprint: str = "") -> Any:
    """The tree that :func:`encode` wrote for the same ``what`` and ``fingerprint``.

    Raises:
        StateMismatchError: if the bytes are damaged, something else or of another system.
    """
    body = data[:-_CHECKSUM_BYTES]
    if len(body) < _LENGTH_BYTES or data[-_CHECKSUM_BYTES:] != _checksum(body):
        raise StateMismatchError(
            f"the saved {what} of {len(data)} bytes is truncated or altered: its checksum does "
            "not match; save it again from a running stream"
        )
    try:
        tensors = safetensors.torch.load(body)
        header = _header_in(body)
        if header["format"] != FORMAT:
            raise ValueError(f"format {header['format']!r}, not {FORMAT!r}")
        found = header["fingerprint"]
        tree = _restored(header["tree"], tensors) if found == fingerprint else None
    except (safetensors.SafetensorError, ValueError, LookupError, TypeError) as error:
        raise StateMismatchError(
            f"these {len(data)} bytes are not a saved {what} ({error}); expected what this version "
            "of the same system wrote"
        ) from error
    if found != fingerprint:
        raise StateMismatchError(
            f"the saved {what} has fingerprint {found!r:.18}; expected {fingerprint!r:.18}: "
            "restore it with the checkpoint, settings and version that saved it"
        )
    return tree


def _header_in(body: bytes) -> Any:
    length = int.from_bytes(body[:_LENGTH_BYTES], "little")
    metadata = json.loads(body[_LENGTH_BYTES : _LENGTH_BYTES + length])["__metadata__"]
    return json.loads(metadata[_KEY])


def _checksum(body: bytes) -> bytes:
    return zlib.crc32(body).to_bytes(_CHECKSUM_BYTES, "little")


def _restored(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_restored(each, tensors) for each in value]
    if not isinstance(value, dict):
        return value
    kind = value[_TAG]
    if kind == _TUPLE:
        return tuple(_restored(each, tensors) for each in value["items"])
    if kind == _MAPPING:
        return {key: _restored(each, tensors) for key, each in value["items"]}
    if kind == _CLASS:
        fields = {name: _restored(each, tensors) for name, each in value["fields"].items()}
        return _dataclass(value["class"])(**fields)
    tensor = tensors[value["name"]]
    if kind == _TENSOR:
        return tensor
    array = tensor.numpy()
    return array.tobytes() if kind == _BYTES else array


def _dataclass(name: str) -> type[Any]:
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type) or not dataclasses.is_dataclass(found):
        raise ValueError(f"{name} is not a dataclass that is loaded")
    return found
