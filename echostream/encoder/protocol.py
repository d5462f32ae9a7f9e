"""What the rest of the system asks of an encoder.

Symbols: ``B`` streams, ``T`` feature frames (100 Hz), ``F`` mel bins, ``C`` output channels, ``n``
encoder frames.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypedDict

from torch import Tensor, nn


class EncoderOutput(TypedDict):
    """What an encoder gives for whole recordings."""

    encoder_out: Tensor
    """``[B, n, C]``, zero after the end of each recording."""
    encoder_out_lengths: Tensor
    """``[B]`` int64."""


@dataclass(frozen=True)
class TrainingChunks:
    """What the chunking of a training batch is drawn from; a value given twice is twice as likely.

    Sizes are in encoder frames; ``None`` in ``chunk_sizes`` is the whole recording.
    """

    whole: int
    """As ``chunk_size`` of the encoder's call: the whole recording."""
    chunk_sizes: tuple[int | None, ...]
    first_chunk_sizes: tuple[int | None, ...]
    """In the first stage of training."""
    others: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)
    """Values of other arguments of the encoder's call, by name."""
    within_chunk: frozenset[str] = frozenset()
    """Those of ``others`` that are cut to the chunk that is drawn."""


@dataclass(frozen=True)
class Capabilities:
    """What an encoder can do beyond encoding one stream at a time."""

    chunking: frozenset[str] = frozenset({"chunk_size"})
    """Arguments of ``init_state`` among ``chunk_size``, ``left_context``, ``right_context`` (in
    encoder frames), ``max_future_frames`` and ``mode``."""
    modes: tuple[str, ...] = ()
    """Values of ``mode``: ways to stream with the same output."""
    batched: bool = False
    """Streams of one batch may be at different positions and get different lengths in a step."""
    portable_state: bool = False
    """States have ``to_bytes(fingerprint)``; the encoder is a :class:`PortableEncoder`."""
    compilable: bool = False
    """:func:`echostream.backend.make_backend` takes it."""
    int8: bool = False
    """``in_int8()`` gives an encoder with int8 weights, whose states are the same."""
    training: TrainingChunks | None = None
    """``None`` to train with the configured chunks only."""


class Encoder(Protocol):
    """Feature frames to encoder frames; a :class:`torch.nn.Module` that is found by its name.

    ``step`` is pure: it never changes a state. Frames that it gave out are final, and concatenated
    they equal what the call gives for the whole recording, however the features were cut.
    """

    capabilities: Capabilities
    frame_ms: int
    """Length of an encoder frame, a multiple of the 10 ms of a feature frame."""
    chunk_multiple: int
    """A chunk is a multiple of this many encoder frames."""

    @property
    def input_dim(self) -> int:
        """``F``."""

    @property
    def output_dim(self) -> int:
        """``C``."""

    @property
    def init_state(self) -> Callable[..., Any]:
        """``(batch_size=1, **chunking)`` to the :class:`EncoderState` of new streams.

        It takes what ``capabilities.chunking`` names; what is left out is the configuration's.
        """

    @property
    def step(self) -> Callable[..., tuple[Tensor, Tensor, Any]]:
        """``(features, state, lengths=None, *, is_final=False)`` encodes the next segment.

        Features are ``[B, T, F]``; what comes back are ``[B, n, C]`` encoder frames, ``[B]`` how
        many of them are each stream's, and the new state. With ``is_final`` the streams end.
        """

    def __call__(self, features: Tensor, lengths: Tensor | None = None) -> EncoderOutput:
        """Whole recordings ``[B, T, F]`` of ``lengths`` [B] feature frames, in training and tests.

        What ``capabilities.training`` draws is given by keyword.
        """


class PortableEncoder(Encoder, Protocol):
    """An encoder whose states can be saved."""

    def fingerprint(self) -> str:
        """SHA-256 over configuration and weights: which encoder a saved state belongs to."""

    def restore(self, data: bytes) -> Any:
        """The state that its ``to_bytes(fingerprint)`` wrote.

        Raises:
            StateMismatchError: if the bytes are damaged or belong to another encoder.
        """


@dataclass(frozen=True)
class Watched:
    """A module whose output can be compared between a stream and a whole recording."""

    module: nn.Module
    pooled: int = 1
    """Encoder frames that one of its frames stands for."""


def watched_modules(encoder: object) -> dict[str, Watched]:
    """The modules that an encoder names for comparison in ``watched_modules()``, by name."""
    named: Callable[[], dict[str, Watched]] = getattr(encoder, "watched_modules", dict)
    return named()
