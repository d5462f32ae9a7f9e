"""The policy that is not simultaneous: the upper bound of quality and of latency."""

from __future__ import annotations

from dataclasses import dataclass

from echostream.policy.protocol import Decision, PolicyContext, register


@register("offline")
@dataclass(frozen=True)
class Offline:
    """Read to the end of the source, then write everything."""

    def decide(self, context: PolicyContext) -> Decision:
        """READ until the source is finished."""
        if context.source_finished:
            return Decision.up_to(context.num_pending, "source finished")
        return Decision.read("source not finished")
