"""Does a policy only look simultaneous? The test of OmniSTEval for recordings of one sentence.

A policy that writes a few words early and all others at the end of the source, or the other way
round, can have any mean latency it likes. Its share of words written before the end then does not
fit its mean latency (Polak et al. 2025, arXiv 2509.17349, and OmniSTEval 0.1.10).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from echostream.scoring.formulas import yet_another_average_lagging
from echostream.scoring.instance import Instance

MOST = 20.0
"""Percentage points from which on a policy is called degenerate."""


@dataclass(frozen=True)
class Degeneracy:
    """All in per cent."""

    simultaneous: float
    """SWF: words written before the end of their source, of all words."""
    expected: float
    """EFSW: source time that is left after YAAL, of all source time."""

    @property
    def test_value(self) -> float:
        """DSPTV: large where a few early words are followed by the rest at the end."""
        return self.expected - self.simultaneous

    @property
    def is_likely(self) -> bool:
        """Whether the two do not fit each other."""
        return abs(self.test_value) > MOST


def degeneracy(instances: Sequence[Instance]) -> Degeneracy | None:
    """The test on a run; None if no instance has words before the end of its source."""
    words = early = 0
    left = total = 0.0
    for instance in instances:
        source = instance.source_length
        if not instance.delays or not source > 0:
            continue
        words += len(instance.delays)
        early += sum(delay < source for delay in instance.delays)
        lagging = yet_another_average_lagging(instance.delays, source, instance.reference_length)
        if lagging is not None:
            left += max(0.0, source - lagging)
            total += source
    if total == 0:
        return None
    return Degeneracy(100 * early / words, 100 * left / total)
