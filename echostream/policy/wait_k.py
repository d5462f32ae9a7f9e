"""The wait-k policy: a fixed schedule."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from echostream.policy.protocol import Decision, PolicyContext, register
from echostream.registry import check_options, option


@register("wait-k")
@dataclass(frozen=True)
class WaitK:
    """Read k chunks, then write n words, and n more after every n further chunks.

    After ``t`` chunks ``((t - k) // n + 1) * n`` words may have been written in all, none before
    ``t = k``. With ``n = 1`` this is wait-k of Ma et al. 2019 (arXiv 1810.08398) with an encoder
    chunk in place of a source word; the stride is that of Zeng et al. 2021 (arXiv 2106.04833). Only
    words that can no longer change are written, or those that a decoder makes on demand.
    """

    k: int = option(int, "chunks read before the first word", default=3, minimum=1)
    stride: int = option(int, "n: words written and chunks read at a time", default=1, minimum=1)

    def __post_init__(self) -> None:
        check_options(self, "policy 'wait-k'")

    def decide(self, context: PolicyContext) -> Decision:
        """Keep to the schedule, as far as there are words."""
        if context.source_finished:
            return Decision.up_to(context.num_pending, "source finished")
        chunks = context.num_chunks
        if chunks < self.k:
            return Decision.read(f"chunk {chunks} of the first {self.k}")
        allowed = ((chunks - self.k) // self.stride + 1) * self.stride
        due = max(0, allowed - context.num_written)
        ready = sum(1 for _ in itertools.islice(context.writable, due))
        return Decision.up_to(
            ready,
            f"{allowed} words allowed after {chunks} chunks, {context.num_written} written, "
            f"{ready} of {due} ready",
        )
