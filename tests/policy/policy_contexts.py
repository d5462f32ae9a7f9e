"""Making the contexts that an agent would make."""

from collections.abc import Sequence
from typing import Any

import torch

from echostream.decoder import Candidates, Word
from echostream.policy import Decision, Policy, PolicyContext


def context(
    *,
    chunks: int = 1,
    words: Sequence[str] = (),
    tentative: Sequence[str] = (),
    ends: Sequence[int] | None = None,
    written: int = 0,
    source: int = 0,
    target: int = 0,
    finished: bool = False,
    state: Any = None,
) -> PolicyContext:
    """A context after ``chunks`` chunks of 320 ms; one token a word unless ``ends`` says else."""
    pending = len(words) + len(tentative)
    ends = range(written + 1, written + 1 + pending) if ends is None else ends

    def word(text: str, end: int) -> Word:
        return Word(text, end, 0)

    return PolicyContext(
        encoder_frames=torch.zeros(16, 4),
        num_encoder_frames=16 * chunks,
        num_chunks=chunks,
        audio_ms=320 * chunks,
        source_finished=finished,
        source_tokens=source,
        target_tokens=target,
        candidates=Candidates(
            tuple(map(word, words, ends)), tuple(map(word, tentative, ends[len(words) :]))
        ),
        num_written=written,
        state=state,
    )


def decide(policy: Policy, ctx: PolicyContext) -> Decision:
    """The policy's decision, asked twice to see that asking has no effect."""
    first, second = policy.decide(ctx), policy.decide(ctx)
    assert first == second
    assert first.reason
    assert first.write <= ctx.num_pending
    return first
