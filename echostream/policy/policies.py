"""The READ/WRITE policies. One of your own needs a file of its own: docs/extending.md."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, takewhile

from echostream.policy.protocol import Decision, PolicyContext, register
from echostream.registry import check_options, option


@register("stub")
@dataclass(frozen=True)
class Stub:
    """Write every word as soon as it is complete: the smallest useful policy."""

    def decide(self, context: PolicyContext) -> Decision:
        """Write all words that can no longer change."""
        return Decision.up_to(len(context.words), "all that is complete")


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
        ready = sum(1 for _ in islice(context.writable, due))
        return Decision.up_to(
            ready,
            f"{allowed} words allowed after {chunks} chunks, {context.num_written} written, "
            f"{ready} of {due} ready",
        )


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
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


@register("alignatt")
@dataclass(frozen=True)
class AlignAtt:
    """Write up to the first word whose attention lies within f frames of what was heard last.

    AlignAtt of Papi et al. 2023 (arXiv 2305.11408), for whole words and the alignment heads of
    Whisper (Macháček and Polák 2025, SimulStreaming, arXiv 2506.17077). It needs a decoder with
    attention: of a CTC search the frames are those at which words were known to be complete.
    """

    frames: int = option(
        int, "f: newest encoder frames at which no written word may look", default=25, minimum=0
    )

    def __post_init__(self) -> None:
        check_options(self, "policy 'alignatt'")

    def decide(self, context: PolicyContext) -> Decision:
        """Look at words until one is too near to the end."""
        if context.source_finished:
            return Decision.up_to(context.num_pending, "source finished")
        limit = context.num_encoder_frames - self.frames
        candidates = context.candidates
        # What was said before a pause need not wait for what comes after it.
        count = len(candidates.stable) if candidates.paused else 0
        for word in islice(context.writable, count, None):
            if word.frame >= limit:
                reason = f"word {count + 1} looks at frame {word.frame} of "
                break
            count += 1
        else:
            reason = "no more words for "
        return Decision.up_to(count, f"{reason}{context.num_encoder_frames}")


@register("offline")
@dataclass(frozen=True)
class Offline:
    """Read to the end of the source, then write everything."""

    def decide(self, context: PolicyContext) -> Decision:
        """READ until the source is finished."""
        if context.source_finished:
            return Decision.up_to(context.num_pending, "source finished")
        return Decision.read("source not finished")
