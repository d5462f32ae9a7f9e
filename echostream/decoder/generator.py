"""What a generator is: from encoded chunks to words that could be written.

Symbols: ``n`` encoder frames of a chunk, ``C`` encoder channels, ``V`` vocabulary of a head.

A generator is immutable and shared by all streams; what a stream has heard and said is in its
state, a tree of frozen dataclasses, tuples, tensors and plain values that :mod:`echostream.codec`
can save. What it gives must not depend on how the audio was cut into segments.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from torch import Tensor

from echostream.decoder.candidates import Candidates
from echostream.decoder.ctc.protocol import Decoder
from echostream.decoder.tokenizer import Tokenizer
from echostream.decoder.words import Word
from echostream.registry import Registry

S = TypeVar("S")


@dataclass(frozen=True, eq=False)
class EncodedChunk:
    """One chunk of one stream, as the encoder and the heads left it."""

    frames: Tensor
    """``[n, C]``."""
    log_probs: Mapping[str, Tensor]
    """``[n, V]`` by the name of the head, of the heads that the generator reads."""
    is_whole: bool
    """False for the shorter rest at the end of a recording; no decision is made after it."""


@dataclass(frozen=True)
class GeneratorParts:
    """What there is to make a generator of."""

    searches: Mapping[str, Decoder[Any]]
    """A CTC search for each head, the one that is written from last."""
    tokenizers: Mapping[str, Tokenizer | None]
    """Of the same heads; ``None`` with random weights, which have no words."""
    frame_ms: int
    """Length of an encoder frame."""
    output_unit: str = "word"
    """``word`` or ``char``."""
    pause_ms: int | None = None
    """Silence after which the last word is complete; 0 for never, ``None`` leaves it to the
    generator."""
    text_decoder: Any = None
    """The :class:`~echostream.decoder.text.TransformerDecoder`, of a model that has one."""
    text_tokenizer: Any = None
    """Its :class:`~echostream.decoder.bpe.ByteLevelTokenizer`, or a
    :class:`~echostream.decoder.tokenizer.Tokenizer`."""
    source_language: str | None = None
    """Code of the language that is spoken, such as ``es``, where the decoder has to be told."""
    task: str = "s2tt"
    """``s2tt``: translate. ``asr``: transcribe."""
    model: Any = field(default=None, compare=False)
    """The :class:`~echostream.model.SpeechModel`, for whoever needs more than heads."""

    @property
    def output(self) -> str:
        """The head whose words are written."""
        return list(self.searches)[-1]

    def pause_frames(self, usual_ms: int) -> int:
        """Encoder frames of a pause, of ``usual_ms`` if nobody said otherwise."""
        return (usual_ms if self.pause_ms is None else self.pause_ms) // self.frame_ms


class Generator(Protocol[S]):
    """Turns what was heard into candidates and commits what the policy allows."""

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the heads whose log-probabilities it reads."""
        ...

    def init_state(self) -> S:
        """A stream of which nothing has been heard."""
        ...

    def observe(self, chunk: EncodedChunk, state: S) -> S:
        """Take the next chunk; neither argument is changed."""
        ...

    def candidates(self, state: S) -> tuple[Candidates, S]:
        """What could be written now. What is decoded on the way is kept in the returned state."""
        ...

    def commit(self, count: int, state: S) -> tuple[tuple[Word, ...], S]:
        """The first ``count`` candidates, or all if there are fewer; never revised afterwards."""
        ...

    def finish(self, state: S) -> S:
        """The source has ended: every candidate is complete and final."""
        ...

    def counters(self, state: S) -> Mapping[str, int]:
        """What is counted in a stream. ``source_tokens`` and ``target_tokens``, the units of the
        source's and the target's hypothesis so far, are what policies are told."""
        ...


_REGISTRY: Registry[Generator[Any]] = Registry(
    "generator",
    ("init_state", "observe", "candidates", "commit", "finish", "counters"),
    supplied=("parts",),
)

register = _REGISTRY.register
"""Class decorator ``@register("name")``: make a generator available by name."""

create = _REGISTRY.create
"""``create(name, parts=..., **options)``: by registered name or ``package.module:Class``."""

describe = _REGISTRY.describe
"""Names, summaries and options of all registered generators, for ``--help``."""
