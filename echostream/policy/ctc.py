"""The CTC-guided policy of StreamSpeech."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile

from echostream.policy.protocol import Decision, PolicyContext, register
from echostream.registry import check_options, option


@register("ctc")
@dataclass(frozen=True)
class CtcGuided:
    """Write when both the ASR and the ST CTC hypothesis have grown by n units.

    The function g(i) of StreamSpeech (Zhang et al. 2024, arXiv 2406.03049). Let ``a`` and ``y`` be
    the numbers of ASR and ST units heard and ``pa``, ``py`` those at which both had last grown.
    READ while ``a < pa + n`` or ``y < py + n``. Otherwise remember ``pa = max(a, pa)`` and
    ``py = max(y, py)`` and write the whole words that lie in the first ``((y - k1) // n) * n`` ST
    units; READ if there is no new one. Only words that can no longer change are written. While the
    speaker pauses, all of them are: neither hypothesis would grow before the next word is spoken.

    The state is ``(pa, py)``.
    """

    stride: int = option(int, "n: units by which both hypotheses must grow", default=1, minimum=1)
    lagging: int = option(int, "k1: newest ST units that are held back", default=0, minimum=0)

    def __post_init__(self) -> None:
        check_options(self, "policy 'ctc'")

    def decide(self, context: PolicyContext) -> Decision:
        """Apply g(i)."""
        source, target = context.source_tokens, context.target_tokens
        past_source, past_target = context.state or (0, 0)
        if context.source_finished:
            return Decision.up_to(
                context.num_pending, "source finished", state=(past_source, past_target)
            )
        if context.candidates.paused:
            return Decision.up_to(
                len(context.words),
                "the speaker pauses",
                state=(max(source, past_source), max(target, past_target)),
            )
        grown = f"ASR {past_source} -> {source}, ST {past_target} -> {target} units"
        if source < past_source + self.stride or target < past_target + self.stride:
            return Decision.read(f"{grown}: not both by {self.stride}", state=context.state)
        want = (target - self.lagging) // self.stride * self.stride
        inside = sum(1 for _ in takewhile(lambda word: word.num_tokens <= want, context.writable))
        return Decision.up_to(
            inside,
            f"{grown}: {inside} new whole words in the first {max(0, want)} units",
            state=(max(source, past_source), max(target, past_target)),
        )
