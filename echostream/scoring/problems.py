"""What is wrong with a log, or should be known about it: counted, never silent."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice, pairwise

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

    Kinds: those of faults and what stands below. has_references: False for a log without any, of
    which no reference is missed.
    """
    found = _faults(instances)
    for kind, (has_problem, is_error, meaning) in _KINDS.items():
        if has_references or kind != "blank-reference":
            indices = [instance.index for instance in instances if has_problem(instance)]
            found += problem(kind, indices, meaning, is_error=is_error)
    found += _spaces(instances)
    degenerate = degeneracy(instances) if has_references else None
    if degenerate is not None and degenerate.is_likely:
        meaning = (
            f"{degenerate.simultaneous:.1f} % of the words come before the end of their source, "
            f"where YAAL lets expect {degenerate.expected:.1f} %; mean latencies say little of "
            "such a policy"
        )
        found.append(Problem("likely-degenerate-policy", len(instances), (), meaning, False))
    return found + _missing_elapsed(instances) + _index_gaps(instances)


def check_speech(instances: Sequence[SpeechInstance]) -> list[Problem]:
    """The same for speech output: faults, ``empty-prediction``, ``empty-source``, ``index-gap``."""
    whole = [instance for instance in instances if not instance.faults]
    silent = [instance.index for instance in whole if not any(instance.durations)]
    nothing = [instance.index for instance in whole if instance.source_length == 0]
    meaning = "no speech was written; not in the means"
    found = _faults(instances)
    found += problem("empty-prediction", silent, meaning, is_error=False)
    meaning = "source of 0 ms; not in the means"
    found += problem("empty-source", nothing, meaning, is_error=False)
    return found + _index_gaps(instances)


def _faults(instances: Sequence[Instance] | Sequence[SpeechInstance]) -> list[Problem]:
    by_kind: dict[str, list[tuple[int, str]]] = {}
    for instance in instances:
        for fault in instance.faults:
            by_kind.setdefault(fault.kind, []).append((instance.index, fault.message))
    found: list[Problem] = []
    for kind, faults in by_kind.items():
        lost = "computation-aware means" if kind == "bad-elapsed" else "latency means"
        index, message = faults[0]
        meaning = f"not in the {lost}; index {index}: {message}"
        found += problem(kind, [index for index, _ in faults], meaning)
    return found


def _index_gaps(instances: Sequence[Instance] | Sequence[SpeechInstance]) -> list[Problem]:
    # Counted between the first and the last index: --start-index and --end-index are legitimate.
    indices = sorted({instance.index for instance in instances})
    gaps = (range(before + 1, after) for before, after in pairwise(indices))
    shown = tuple(islice(chain.from_iterable(gaps), SHOWN_INDICES))
    count = indices[-1] - indices[0] + 1 - len(indices)
    meaning = "missing between the first and the last index, so the corpus is not complete"
    return [Problem("index-gap", count, shown, meaning)] if shown else []


def has_lost_spaces(instances: Sequence[Instance]) -> bool:
    """Whether predictions are characters without white space and references have spaces."""
    return (
        instances[0].unit.is_character
        and not any(len(instance.prediction.split()) > 1 for instance in instances)
        and any(len(instance.reference.split()) > 1 for instance in instances)
    )


def _spaces(instances: Sequence[Instance]) -> list[Problem]:
    spaced = [ins.index for ins in instances if len(ins.reference.split()) > 1]
    if has_lost_spaces(instances):
        meaning = (
            "the references have spaces, which a log in characters has lost from the predictions, "
            "so quality is that of texts without spaces: BLEU of characters, no WER; run with "
            "--eval-latency-unit word for figures of words"
        )
        return problem("lost-spaces", spaced, meaning, is_error=False)
    if spaced or instances[0].unit.is_character:
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


def _has_other_spaces(instance: Instance) -> bool:
    words = len(instance.reference.split())
    return not instance.unit.is_character and 0 < words != len(instance.reference.split(" "))


def _spent(instance: Instance) -> list[float]:
    """Compute time so far, by word."""
    return [e - d for e, d in zip(instance.elapsed, instance.delays, strict=False)]


_KINDS: dict[str, tuple[Callable[[Instance], bool], bool, str]] = {
    "empty-prediction": (
        lambda ins: not ins.prediction.split(),
        False,
        "no word was written; not in the latency means, an empty hypothesis in the quality figures",
    ),
    "empty-source": (
        lambda ins: ins.source_length == 0 and not ins.faults,
        False,
        "source of 0 ms; not in the latency means",
    ),
    "blank-reference": (
        lambda ins: not ins.reference.strip(),
        False,
        "nothing in the reference; counts as a length of 1, as in SimulEval",
    ),
    "reference-spacing": (
        _has_other_spaces,
        False,
        "reference has other white space than single spaces between words; words are counted here, "
        "and SimulEval, which counts single spaces, prints other figures",
    ),
    "long-recording": (
        lambda ins: ins.source_length > LONGEST_SENTENCE_MS,
        False,
        f"longer than {LONGEST_SENTENCE_MS / 1000:.0f} s and taken for one sentence each: pauses "
        "and uneven speech add up, so AL, LAAL, YAAL and DAL are not the lag that a listener has "
        "and cannot be compared with figures of sentences; align the words with reference "
        "sentences first, as OmniSTEval or simulstream do (LongYAAL, StreamLAAL)",
    ),
    "delay-after-end": (
        lambda ins: bool(ins.delays) and ins.delays[-1] > ins.source_length + _TOLERANCE_MS,
        True,
        "a delay is larger than the source length, so more audio was counted than there was",
    ),
    "elapsed-below-delay": (
        lambda ins: any(spent < -_TOLERANCE_MS for spent in _spent(ins)),
        True,
        "elapsed time below the delay, so a word was there before its audio; the "
        "computation-aware figures are too low",
    ),
    "decreasing-compute": (
        lambda ins: any(b < a - _TOLERANCE_MS for a, b in pairwise(_spent(ins))),
        True,
        "elapsed time less delay, which is all compute time so far, gets less: the clock was set "
        "during the run; the computation-aware figures are wrong",
    ),
}
