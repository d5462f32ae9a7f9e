"""From the options about chunks and context to the arguments of an encoder's ``init_state``."""

from typing import Any

from echostream.encoder.protocol import Encoder
from echostream.errors import ConfigError
from echostream.session.options import SystemOptions

_ARGUMENTS = {
    "chunk_ms": "chunk_size",
    "left_context_ms": "left_context",
    "right_context_ms": "right_context",
    "max_future_frames": "max_future_frames",
    "encoder_mode": "mode",
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
                f"--{name.replace('_', '-')} is {value}; expected a multiple of {unit} ms "
                f"from {least} on"
            )
    result: dict[str, Any] = {}
    if options.chunk_ms is not None:
        result["chunk_size"] = options.chunk_ms // encoder.frame_ms
    for name, argument in _ARGUMENTS.items():
        if getattr(options, name) is not None and argument not in encoder.capabilities.chunking:
            raise ConfigError(
                f"--{name.replace('_', '-')} was given, but the model's encoder is a "
                f"{type(encoder).__name__}, which has no such choice; leave it out"
            )
    if options.encoder_mode is not None:
        result["mode"] = options.encoder_mode
    if options.left_context_ms is not None:
        result["left_context"] = options.left_context_ms // encoder.frame_ms
    if options.right_context_ms is not None:
        result["right_context"] = options.right_context_ms // encoder.frame_ms
    if options.max_future_frames is not None:
        result["max_future_frames"] = _future(options.max_future_frames)
    return result


def _future(text: str) -> int | None:
    if text == "chunk":
        return None
    if not str(text).isdigit():
        raise ConfigError(
            f"--max-future-frames is {text!r}; expected 'chunk' (all of it) or a number from 0 on"
        )
    return int(text)
