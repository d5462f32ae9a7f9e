"""The envelope of a saved state: a safetensors body with a JSON header, and a checksum."""

from __future__ import annotations

import json
import zlib
from typing import Any

from echostream.errors import StateMismatchError

_KEY = "echostream"
_CHECKSUM_BYTES = 4
# A safetensors body begins with the length of its JSON part.
_LENGTH_BYTES = 8


def metadata_of(header: dict[str, Any]) -> dict[str, str]:
    """The header as safetensors metadata; one entry, since several are written in random order."""
    return {_KEY: json.dumps(header)}


def header_in(body: bytes) -> Any:
    """The header in a safetensors body. ValueError, KeyError or TypeError if there is none."""
    length = int.from_bytes(body[:_LENGTH_BYTES], "little")
    metadata = json.loads(body[_LENGTH_BYTES : _LENGTH_BYTES + length])["__metadata__"]
    return json.loads(metadata[_KEY])


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
