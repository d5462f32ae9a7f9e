"""Encoders by the name in a configuration."""

from typing import Any, Protocol

from torch import nn

from echostream.errors import ConfigError
from echostream.registry import Registry

encoders: Registry[nn.Module] = Registry("encoder", ("init_state", "step"))

register = encoders.register
names = encoders.names

_NEEDED = ("capabilities", "frame_ms", "chunk_multiple", "input_dim", "output_dim")


class Described(Protocol):
    """A part of the configuration that says which encoder it is."""

    @property
    def name(self) -> str:
        """A registered name or ``package.module:Class``."""

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of the class."""


def create(config: Described) -> Any:
    """The encoder that a configuration describes, with random weights.

    Raises:
        ConfigError: if there is no such encoder, or it does not say what encoders have to say.
    """
    encoder = encoders.create(config.name, **config.options)
    lacking = [name for name in _NEEDED if not hasattr(encoder, name)]
    if lacking or not isinstance(encoder, nn.Module):
        raise ConfigError(
            f"encoder {config.name!r} lacks {', '.join(lacking) or 'the base torch.nn.Module'}; "
            "expected what echostream.encoder.protocol.Encoder describes"
        )
    return encoder
