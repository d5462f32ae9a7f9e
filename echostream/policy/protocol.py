"""What a READ/WRITE policy is, what it sees and what it answers.

Symbols: ``T`` encoder frames, ``D`` channels of an encoder frame.

A policy is asked once after each encoder chunk, and once more at the end of the source, when
everything left is written whatever it answers. It is immutable and shared by all streams; what it
must remember of one stream it returns in :attr:`Decision.state` and finds again in
:attr:`PolicyContext.state`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from echostream.decoder.candidates import Candidates, Texts
from echostream.decoder.words import Word
from echostream.registry import Registry


@dataclass(frozen=True, eq=False, kw_only=True)
class PolicyContext:
    """What has been heard, what could be said, and what was said.

    Only words that are still to be written are candidates, so that asking costs the same however
    long the stream is; a :attr:`Decision.write` counts them from the first. Candidates are made
    when they are looked at, so a policy that looks no further decodes no further. A forced writer
    (reference words written on the policy's schedule) gives the rest of the reference, one token a
    word.
    """

    encoder_frames: Tensor
    """``[T, D]`` view of the newest chunk's frames; of all frames so far for a policy class that
    sets ``needs_encoder_history = True``."""
    num_encoder_frames: int
    """Encoder frames (20 ms) so far."""
    num_chunks: int
    """Encoder chunks heard so far."""
    audio_ms: int
    """Audio heard so far, in milliseconds."""
    source_finished: bool
    """Whether the source has ended; then nothing more will be heard or asked."""
    source_tokens: int
    """Units of the source-language (ASR) CTC hypothesis so far; encoder frames without one."""
    target_tokens: int
    """Units of the target-language (ST) CTC hypothesis so far, tentative ones included; written
    ones without one."""
    candidates: Candidates = field(default_factory=Candidates)
    """What could be written."""
    num_written: int = 0
    """Words written so far."""
    state: Any = None
    """What the policy returned last time; ``None`` at the start."""

    @property
    def words(self) -> Sequence[str]:
        """Candidates that no later audio can change. A view: keep ``tuple(words)`` of what is to be
        remembered."""
        return Texts(self.candidates.stable)

    @property
    def tentative_words(self) -> Sequence[str]:
        """Candidates after ``words``; later audio may revise them."""
        return Texts(self.candidates.tentative)

    @property
    def writable(self) -> Iterator[Word]:
        """Candidates that a schedule may write, made as they are asked for: those that cannot
        change any more, and all of a decoder that makes words on demand."""
        yield from self.candidates.stable
        if self.candidates.on_demand:
            yield from self.candidates.tentative

    @property
    def num_pending(self) -> int:
        """Words that could be written now."""
        return len(self.candidates)


@dataclass(frozen=True)
class Decision:
    """READ or WRITE. Made by :meth:`read` and :meth:`up_to`."""

    write: int
    """Pending words to write now; 0 is READ. More than there are means all of them."""
    state: Any = field(default=None, kw_only=True)
    """The policy's memory for the next call: numbers, strings, lists or tuples, so that it can be
    saved as JSON with the stream. A restored state has lists where there were tuples."""
    reason: str = field(default="", kw_only=True)
    """Why, in a few words for a person."""

    def __post_init__(self) -> None:
        if self.write < 0:
            raise ValueError(f"a decision writes {self.write} words; expected 0 (READ) or more")

    @classmethod
    def read(cls, reason: str = "", *, state: Any = None) -> Decision:
        """Wait for more audio."""
        return cls(0, state=state, reason=reason)

    @classmethod
    def up_to(cls, count: int, reason: str = "", *, state: Any = None) -> Decision:
        """WRITE ``count`` words, or READ if ``count`` is 0 or less."""
        return cls(max(0, count), state=state, reason=reason)


class Policy(Protocol):
    """A READ/WRITE policy."""

    def decide(self, context: PolicyContext) -> Decision:
        """Whether to go on listening or how many words to write.

        A pure function: the same context always gives the same decision.
        """
        ...


def needs_encoder_history(policy: Policy) -> bool:
    """Whether the policy's class asks for all encoder frames instead of the newest chunk's."""
    return bool(getattr(policy, "needs_encoder_history", False))


_REGISTRY: Registry[Policy] = Registry("policy", ("decide",))

register = _REGISTRY.register
"""Class decorator ``@register("name")``: make a policy available by name."""

create = _REGISTRY.create
"""``create(name, **options)``: a policy by registered name or ``package.module:Class``."""

names = _REGISTRY.names
"""Registered names."""

describe = _REGISTRY.describe
"""Names, summaries and options of all registered policies, for ``--help``."""
