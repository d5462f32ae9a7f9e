"""The policy that reads the decoder's attention: a word waits until what it looks at was heard."""

from __future__ import annotations

from dataclasses import dataclass

from echostream.policy.protocol import Decision, PolicyContext, register
from echostream.registry import check_options, option


@register("alignatt")
@dataclass(frozen=True)
class AlignAtt:
    """Write up to the first word whose attention lies within f frames of what was heard last.

    AlignAtt of Papi et al. 2023 (arXiv 2305.11408), for whole words and the alignment heads of
    Whisper (Macháček and Polák 2025, SimulStreaming, arXiv 2506.17077). It needs a decoder with
    attention: of a CTC search the frames are those at which words were known to be complete.
    """

    frames: int = option(
        int, "f: newest encoder frames at which no written word may look", default=60, minimum=0
    )

    def __post_init__(self) -> None:
        check_options(self, "policy 'alignatt'")

    def decide(self, context: PolicyContext) -> Decision:
        """Look at words until one is too near to the end."""
        if context.source_finished:
            return Decision.up_to(context.num_pending, "source finished")
        limit = context.num_encoder_frames - self.frames
        count = 0
        for word in context.writable:
            if word.frame >= limit:
                reason = f"word {count + 1} looks at frame {word.frame} of "
                break
            count += 1
        else:
            reason = "no more words for "
        return Decision.up_to(count, f"{reason}{context.num_encoder_frames}")
