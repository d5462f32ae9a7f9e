"""What a decoder is: an incremental search from CTC log-probabilities to tokens.

Symbols: ``T`` encoder frames of one call, ``V`` CTC vocabulary (pieces and blank).

A decoder is immutable and shared by all streams; what a stream has heard is in its state. Cutting
the frames of a stream into other calls never changes the tokens that come out in the end.
"""

from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from torch import Tensor

from echostream.errors import StreamClosedError
from echostream.registry import Registry

S = TypeVar("S")


@dataclass(frozen=True)
class Token:
    """One SentencePiece piece of a hypothesis."""

    id: int
    """SentencePiece id, never the blank."""
    frame: int
    """Encoder frame, counted from the start of the stream, at which it was first emitted."""


@dataclass(frozen=True)
class DecoderOutput:
    """What one step found out."""

    stable: tuple[Token, ...] = ()
    """Tokens that became final in this step. Joined over all steps they are the hypothesis."""
    tentative: tuple[Token, ...] = ()
    """The best continuation so far after all stable tokens; a later step may revise it."""


class Decoder(Protocol[S]):
    """An incremental CTC search. States are frozen, hold whole numbers, floats and tuples only."""

    def init_state(self) -> S:
        """State of a stream of which nothing has been heard."""
        ...

    def step(self, log_probs: Tensor, state: S) -> tuple[DecoderOutput, S]:
        """Take the next ``[T, V]`` log-probabilities, ``T >= 0``; neither argument is changed.

        Raises:
            ConfigError: if ``V`` does not fit the decoder.
            CheckpointError: if there is a NaN in the log-probabilities.
            StreamClosedError: if the state was flushed.
        """
        ...

    def flush(self, state: S) -> tuple[DecoderOutput, S]:
        """End of stream: everything becomes stable. A second flush returns nothing more."""
        ...


_REGISTRY: Registry[Decoder[Any]] = Registry(
    "decoder", ("init_state", "step", "flush"), supplied=("blank", "suppress", "language_model")
)

register = _REGISTRY.register
"""Class decorator ``@register("name")``: make a decoder available by name."""

create = _REGISTRY.create
"""``create(name, **options)``: a decoder by registered name or ``package.module:Class``."""

names = _REGISTRY.names
"""Registered names."""

describe = _REGISTRY.describe
"""Names, summaries and options of all registered decoders, for ``--help``."""


def require_open(finished: bool) -> None:
    """Raise :class:`StreamClosedError` if the stream of a state was flushed."""
    if finished:
        raise StreamClosedError(
            "frames were pushed into a decoder state that has been flushed; expected none after "
            "flush(): start the next stream from init_state()"
        )
