"""From the options about chunks and context to the arguments of an encoder's ``init_state``."""

from typing import Any

from echostream.encoder.protocol import Encoder
from echostream.errors import ConfigError
from echostream.session.options import SystemOptions
from echostream.system_arguments import flag

_ARGUMENTS = {
    "chunk_ms": "chunk_size",
    "encoder_mode": "mode",
    "left_context_ms": "left_context",
    "right_context_ms": "right_context",
    "max_future_frames": "max_future_frames",
}


def chunking(options: SystemOptions, encoder: Encoder) -> dict[str, Any]:
    """What the options say, in the frames of this encoder.

    Raises:
        ConfigError: if a length is not a multiple of what the encoder pools, or an option is not
            for this kind of encoder.
    """
    group_ms = encoder.frame_ms * encoder.chunk_multiple
    for name, unit, least in (
        ("chunk_ms", group_ms, group_ms),
        ("left_context_ms", group_ms, 0),
        ("right_context_ms", encoder.frame_ms, 0),
    ):
        value = getattr(options, name)
        if value is not None and (value % unit or value < least):
            raise ConfigError(
                f"{flag(name)} is {value}; expected a multiple of {unit} ms from {least} on"
            )
    result: dict[str, Any] = {}
    for name, argument in _ARGUMENTS.items():
        value = getattr(options, name)
        if value is None:
            continue
        if argument not in encoder.capabilities.chunking:
            raise ConfigError(
                f"{flag(name)} was given, but the model's encoder is a "
                f"{type(encoder).__name__}, which has no such choice; leave it out"
            )
        if name == "max_future_frames":
            value = _future(value)
        elif name != "encoder_mode":
            value //= encoder.frame_ms
        result[argument] = value
    return result


def _future(text: str) -> int | None:
    if text == "chunk":
        return None
    if not str(text).isdecimal():
        raise ConfigError(
            f"--max-future-frames is {text!r}; expected 'chunk' (all of it) or a number from 0 on"
        )
    return int(text)
