"""What is wrong with a log, or should be known about it: counted, never silent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from echostream.scoring.degeneracy import degeneracy
from echostream.scoring.instance import Instance
from echostream.scoring.speech import SpeechInstance

SHOWN_INDICES = 10
"""A problem names at most this many indices."""

LONGEST_SENTENCE_MS = 60_000
"""A recording that is longer is no sentence."""

_LONGEST_WORD = 20
"""Characters. A text without spaces that is longer is of a language without them."""

_TOLERANCE_MS = 0.001
"""Logs of other tools round their times; a difference this small is no finding."""


@dataclass(frozen=True)
class Problem:
    """One kind of problem in one log."""

    kind: str
    """Short name, stable, for programs."""
    count: int
    """Instances (or lines) that have it or are not there, at least 1."""
    indices: tuple[int, ...]
    """The first of them, at most ``SHOWN_INDICES``, in rising order; empty if they are unknown."""
    meaning: str
    """What it is and what it does to the figures."""
    is_error: bool = True
    """Whether the log contradicts itself or is not whole, so that the figures are not those of the
    run. False for what is only worth knowing, such as an empty prediction."""
    places: str = "index"
    """What ``indices`` are: ``index`` of instances or ``line`` of the file."""

    def __str__(self) -> str:
        shown = ", ".join(map(str, self.indices)) + (", ..." if self.count > SHOWN_INDICES else "")
        where = f" ({self.places} {shown})" if self.indices else ""
        return f"{self.kind} x {self.count}: {self.meaning}{where}"


def problem(
    kind: str, indices: Iterable[int], meaning: str, *, is_error: bool = True, places: str = "index"
) -> list[Problem]:
    """A list of the problem, or an empty one if no index has it."""
    found = sorted(indices)
    shown = tuple(found[:SHOWN_INDICES])
    return [Problem(kind, len(found), shown, meaning, is_error, places)] if found else []


def check_instances(instances: Sequence[Instance], *, has_references: bool = True) -> list[Problem]:
    """Count the problems of a log with text output, one :class:`Problem` for each kind.

    Kinds: those of faults, ``empty-prediction``, ``empty-source``, ``missing-elapsed``,
    ``partly-missing-elapsed``, ``blank-reference``, ``reference-spacing``, ``delay-after-end``,
    ``elapsed-below-delay``, ``decreasing-compute``, ``index-gap``, ``likely-degenerate-policy``,
    ``long-recording``, ``lost-spaces``, ``unspaced-references``.

    has_references: False for a log without any, of which no reference is missed.
    """
    found = _faults(instances)
    for kind, (is_error, meaning, has_problem) in _KINDS.items():
        if kind == "blank-reference" and not has_references:
            continue
        indices = [instance.index for instance in instances if has_problem(instance)]
        found += problem(kind, indices, meaning, is_error=is_error)
    found += _long_recordings(instances) + _spaces(instances)
    if has_references:
        found += _degenerate_policy(instances)
    return found + _missing_elapsed(instances) + _index_gaps(instances)


def check_speech(instances: Sequence[SpeechInstance]) -> list[Problem]:
    """The same for speech output: faults, ``empty-prediction``, ``empty-source``, ``index-gap``."""
    whole = [instance for instance in instances if not instance.faults]
    silent = [instance.index for instance in whole if not any(instance.durations)]
    found = _faults(instances)
    found += problem(
        "empty-prediction", silent, "no speech was written; not in the means", is_error=False
    )
    found += problem(
        "empty-source",
        [instance.index for instance in whole if instance.source_length == 0],
        "source of 0 ms; not in the means",
        is_error=False,
    )
    return found + _index_gaps(instances)


def _faults(instances: Sequence[Instance] | Sequence[SpeechInstance]) -> list[Problem]:
    messages: dict[str, str] = {}
    indices: dict[str, list[int]] = {}
    for instance in instances:
        for fault in instance.faults:
            messages.setdefault(fault.kind, f"index {instance.index}: {fault.message}")
            indices.setdefault(fault.kind, []).append(instance.index)
    found: list[Problem] = []
    for kind, message in messages.items():
        lost = "computation-aware means" if kind == "bad-elapsed" else "latency means"
        found += problem(kind, indices[kind], f"not in the {lost}; {message}")
    return found


def _index_gaps(instances: Sequence[Instance] | Sequence[SpeechInstance]) -> list[Problem]:
    # Counted between the first and the last index: --start-index and --end-index are legitimate.
    count = 0
    shown: list[int] = []
    for before, after in pairwise(sorted(instance.index for instance in instances)):
        missing = range(before + 1, after)
        count += len(missing)
        shown += missing[: SHOWN_INDICES - len(shown)]
    if not count:
        return []
    meaning = "missing between the first and the last index, so the corpus is not complete"
    return [Problem("index-gap", count, tuple(shown), meaning)]


def _degenerate_policy(instances: Sequence[Instance]) -> list[Problem]:
    found = degeneracy(instances)
    if found is None or not found.is_likely:
        return []
    meaning = (
        f"{found.simultaneous:.1f} % of the words come before the end of their source, where YAAL "
        f"lets expect {found.expected:.1f} %; mean latencies say little of such a policy"
    )
    return [Problem("likely-degenerate-policy", len(instances), (), meaning, is_error=False)]


def _long_recordings(instances: Sequence[Instance]) -> list[Problem]:
    long = [instance for instance in instances if instance.source_length > LONGEST_SENTENCE_MS]
    if not long:
        return []
    longest = max(instance.source_length for instance in long) / 1000
    meaning = (
        f"longer than {LONGEST_SENTENCE_MS / 1000:.0f} s (up to {longest:.0f} s) and taken for one "
        "sentence each: pauses and uneven speech add up, so AL, LAAL, YAAL and DAL are not the lag "
        "that a listener has and cannot be compared with figures of sentences; align the words "
        "with reference sentences first, as OmniSTEval or simulstream do (LongYAAL, StreamLAAL)"
    )
    return problem("long-recording", (ins.index for ins in long), meaning, is_error=False)


def has_lost_spaces(instances: Sequence[Instance]) -> bool:
    """Whether predictions are characters without white space and references have spaces."""
    return (
        bool(instances)
        and instances[0].unit.is_character
        and not any(len(instance.prediction.split()) > 1 for instance in instances)
        and any(len(instance.reference.split()) > 1 for instance in instances)
    )


def _spaces(instances: Sequence[Instance]) -> list[Problem]:
    if has_lost_spaces(instances):
        spaced = [ins.index for ins in instances if len(ins.reference.split()) > 1]
        meaning = (
            "the references have spaces, which a log in characters has lost from the predictions, "
            "so quality is that of texts without spaces: BLEU of characters, no WER; run with "
            "--eval-latency-unit word for figures of words"
        )
        return problem("lost-spaces", spaced, meaning, is_error=False)
    references = [ins.reference for ins in instances if ins.reference.strip()]
    is_unspaced = bool(references) and not any(len(text.split()) > 1 for text in references)
    if not is_unspaced or not instances[0].unit.startswith("word"):
        return []
    long = [ins.index for ins in instances if len(ins.reference.strip()) > _LONGEST_WORD]
    meaning = (
        "no reference has a space: a language without them, of which words say nothing; run with "
        "--eval-latency-unit char, and score BLEU with --tokenizer zh, ja-mecab or char"
    )
    return problem("unspaced-references", long, meaning, is_error=False)


def _missing_elapsed(instances: Sequence[Instance]) -> list[Problem]:
    timed = [instance for instance in instances if instance.delays and not instance.segments]
    missing = [instance.index for instance in timed if not instance.elapsed and not instance.faults]
    if len(missing) == len(timed):
        meaning = "no elapsed times; not in the computation-aware means"
        return problem("missing-elapsed", missing, meaning, is_error=False)
    meaning = "no elapsed times though others have; not in the computation-aware means"
    return problem("partly-missing-elapsed", missing, meaning)


def _reference_spacing(instance: Instance) -> bool:
    words = len(instance.reference.split())
    return not instance.unit.is_character and 0 < words != len(instance.reference.split(" "))


def _delay_after_end(instance: Instance) -> bool:
    return bool(instance.delays) and instance.delays[-1] > instance.source_length + _TOLERANCE_MS


def _elapsed_below_delay(instance: Instance) -> bool:
    return any(
        elapsed < delay - _TOLERANCE_MS
        for elapsed, delay in zip(instance.elapsed, instance.delays, strict=False)
    )


def _decreasing_compute(instance: Instance) -> bool:
    spent = [
        elapsed - delay for elapsed, delay in zip(instance.elapsed, instance.delays, strict=False)
    ]
    return any(later < earlier - _TOLERANCE_MS for earlier, later in pairwise(spent))


_KINDS: dict[str, tuple[bool, str, Callable[[Instance], bool]]] = {
    "empty-prediction": (
        False,
        "no word was written; not in the latency means, an empty hypothesis in the quality figures",
        lambda instance: not instance.prediction.split(),
    ),
    "empty-source": (
        False,
        "source of 0 ms; not in the latency means",
        lambda instance: instance.source_length == 0 and not instance.faults,
    ),
    "blank-reference": (
        False,
        "nothing in the reference; counts as a length of 1, as in SimulEval",
        lambda instance: not instance.reference.strip(),
    ),
    "reference-spacing": (
        False,
        "reference has other white space than single spaces between words; words are counted here, "
        "and SimulEval, which counts single spaces, prints other figures",
        _reference_spacing,
    ),
    "delay-after-end": (
        True,
        "a delay is larger than the source length, so more audio was counted than there was",
        _delay_after_end,
    ),
    "elapsed-below-delay": (
        True,
        "elapsed time below the delay, so a word was there before its audio; the "
        "computation-aware figures are too low",
        _elapsed_below_delay,
    ),
    "decreasing-compute": (
        True,
        "elapsed time less delay, which is all compute time so far, gets less: the clock was set "
        "during the run; the computation-aware figures are wrong",
        _decreasing_compute,
    ),
}
