"""One codec for everything a stream carries: trees of tensors and plain values as bytes.

A tree is made of frozen dataclasses, tuples, lists, mappings with words as keys, tensors, numpy
arrays, bytes, numbers, words and ``None``. What is restored equals what was saved, bit for bit. The
body is safetensors with the tree as JSON in its metadata, and a checksum behind it.

Restoring never imports and never unpickles: a dataclass is looked up among the modules that are
loaded already, so the system that saved a stream has to be built before it is restored.
"""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from echostream.errors import StateMismatchError
from echostream.saved_state import header_in, metadata_of, seal, unseal

_TENSOR, _ARRAY, _BYTES, _CLASS, _MAPPING = "tensor", "array", "bytes", "class", "mapping"
_TAG = "$"


def encode(tree: Any, what: str) -> bytes:
    """The tree as bytes; ``what`` names it in the message.

    Raises:
        StateMismatchError: for a value of another kind.
    """
    tensors: dict[str, Tensor] = {}

    def kept(kind: str, tensor: Tensor) -> dict[str, str]:
        name = str(len(tensors))
        # Shared memory is saved as often as it is met: safetensors would refuse it.
        tensors[name] = tensor.detach().cpu().clone().contiguous()
        return {_TAG: kind, "name": name}

    def plain(value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, Tensor):
            return kept(_TENSOR, value)
        if isinstance(value, np.ndarray):
            return kept(_ARRAY, torch.from_numpy(np.ascontiguousarray(value)))
        if isinstance(value, bytes):
            return kept(_BYTES, torch.frombuffer(bytearray(value), dtype=torch.uint8))
        if isinstance(value, list | tuple):
            return type(value)(map(plain, value))
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return {_TAG: _MAPPING, "items": [[key, plain(each)] for key, each in value.items()]}
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = [field.name for field in dataclasses.fields(value) if field.init]
            return {
                _TAG: _CLASS,
                "class": f"{type(value).__module__}:{type(value).__qualname__}",
                "fields": {name: plain(getattr(value, name)) for name in fields},
            }
        raise StateMismatchError(
            f"the saved {what} would hold a {type(value).__name__}; expected frozen dataclasses, "
            "tuples, lists, mappings with words as keys, tensors, arrays, numbers and words"
        )

    header = metadata_of({"tree": plain(tree)})
    return seal(safetensors.torch.save(tensors, metadata=header))


def decode(data: bytes, what: str) -> Any:
    """The tree that :func:`encode` wrote.

    Raises:
        StateMismatchError: if the bytes are damaged or something else.
    """
    body = unseal(data, what)
    try:
        tensors = safetensors.torch.load(body)
        return _restored(header_in(body)["tree"], tensors)
    except (safetensors.SafetensorError, ValueError, LookupError, TypeError) as error:
        raise StateMismatchError(
            f"these {len(data)} bytes are not a saved {what} ({error}); expected what this version "
            "of the same system wrote"
        ) from error


def _restored(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_restored(each, tensors) for each in value)
    if not isinstance(value, dict):
        return value
    kind = value[_TAG]
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
