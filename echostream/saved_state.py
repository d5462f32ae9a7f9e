"""The envelope of a saved state: a safetensors body with a JSON header, and a checksum."""

from __future__ import annotations

import json
import zlib
from typing import Any

from echostream.errors import StateMismatchError

_KEY = "echostream"
_TUPLE = "__tuple__"
_CHECKSUM_BYTES = 4
# A safetensors body begins with the length of its JSON part.
_LENGTH_BYTES = 8


def metadata_of(header: dict[str, Any]) -> dict[str, str]:
    """The header as safetensors metadata; one entry, since several are written in random order.

    Raises:
        TypeError: if it holds something other than numbers, strings, lists, tuples and mappings.
    """
    return {_KEY: json.dumps(_tagged(header))}


def header_in(body: bytes) -> Any:
    """The header in a safetensors body. ValueError, KeyError or TypeError if there is none."""
    length = int.from_bytes(body[:_LENGTH_BYTES], "little")
    metadata = json.loads(body[_LENGTH_BYTES : _LENGTH_BYTES + length])["__metadata__"]
    return json.loads(metadata[_KEY], object_hook=_untagged)


def _tagged(value: Any) -> Any:
    """Tuples in a form that JSON does not make lists of: what is restored equals what was saved."""
    if isinstance(value, dict):
        return {key: _tagged(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        own = [_tagged(each) for each in value]
        return {_TUPLE: own} if isinstance(value, tuple) else own
    return value


def _untagged(value: dict[str, Any]) -> Any:
    return tuple(value[_TUPLE]) if value.keys() == {_TUPLE} else value


def seal(body: bytes) -> bytes:
    """The body with its checksum behind it."""
    return body + zlib.crc32(body).to_bytes(_CHECKSUM_BYTES, "little")


def unseal(data: bytes, what: str) -> bytes:
    """The body of sealed bytes; ``what`` names the state in the message.

    Raises:
        StateMismatchError: if the bytes are truncated or altered.
    """
    body = data[:-_CHECKSUM_BYTES]
    if len(body) < _LENGTH_BYTES or seal(body) != data:
        raise StateMismatchError(
            f"the saved {what} of {len(data)} bytes is truncated or altered: its checksum does "
            "not match; save it again from a running stream"
        )
    return body
