"""A segment of audio as logs have it: shape, type, rate and a sum, perhaps the samples."""

import base64
import hashlib
from typing import Any

import numpy as np

from echostream.audio.samples import Samples, as_array
from echostream.errors import AudioFormatError

NUMBERS = "fiub"
"""Kinds of dtype whose bytes mean something: floats, whole numbers, booleans."""


def describe_audio(
    samples: Samples, sample_rate: int | None, *, with_content: bool = False
) -> dict[str, Any]:
    """A segment's audio as the record has it.

    ``samples`` that are no audio have the name of their type under ``unreadable`` and nothing else.
    """
    try:
        array = as_array(samples)
    except AudioFormatError:
        return {"unreadable": type(samples).__name__}
    if array.dtype.kind not in NUMBERS:
        return {"unreadable": f"{type(samples).__name__} of {array.dtype}"}
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    data = array.tobytes()
    described: dict[str, Any] = {
        "shape": list(array.shape),
        "dtype": array.dtype.newbyteorder("=").name,
        # A host may pass anything; the front end says what is wrong with it.
        "sample_rate": sample_rate if isinstance(sample_rate, int | None) else repr(sample_rate),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    if with_content:
        described["base64"] = base64.b64encode(data).decode("ascii")
    return described
