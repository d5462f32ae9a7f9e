"""The local agreement policy: say what the last hypotheses have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from echostream.policy.protocol import Decision, PolicyContext, register
from echostream.registry import check_options, option


@register("local-agreement")
@dataclass(frozen=True)
class LocalAgreement:
    """Write the words on which the hypotheses after the last n chunks agree.

    Liu et al. 2020 (arXiv 2005.11185); LA-n of Polak et al. 2022 (CUNI-KIT, IWSLT). A word is
    written once it stands at the same position, after the same words, in each of the last ``n``
    hypotheses. Tentative words take part, so this is the policy for a search that revises; a
    decoder that never does (greedy) is merely delayed by ``n - 1`` chunks. Words already written
    stay, whatever a revision makes of them: positions count from there on.

    The state is a tuple of the last ``n - 1`` hypotheses, each ``(words written then, pending
    words then)``.
    """

    n: int = option(int, "hypotheses that must agree; 1 writes at once", default=2, minimum=1)

    def __post_init__(self) -> None:
        check_options(self, "policy 'local-agreement'")

    def decide(self, context: PolicyContext) -> Decision:
        """Write the longest common prefix of the last ``n`` hypotheses."""
        if context.source_finished:
            return Decision.up_to(context.num_pending, "source finished", state=context.state)
        current = (*context.words, *context.tentative_words)
        past = tuple(context.state or ())
        state = (*past, (context.num_written, current))[-(self.n - 1) :] if self.n > 1 else ()
        if len(past) < self.n - 1:
            return Decision.read(f"hypothesis {len(past) + 1} of {self.n}", state=state)
        agreed = len(current)
        for written, words in past:
            agreed = min(agreed, _common(current, words[context.num_written - written :]))
        return Decision.up_to(
            agreed, f"{agreed} of {len(current)} words agree in {self.n} hypotheses", state=state
        )


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common prefix."""
    for index, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return index
    return min(len(a), len(b))
