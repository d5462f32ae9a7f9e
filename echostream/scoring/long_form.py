"""Figures of long recordings, sentence by sentence: StreamLAAL, LongYAAL and quality.

The words of each recording are given to the reference sentences (see
:mod:`echostream.scoring.resegmentation`), and their times count from the begin of their sentence.
A sentence's words may come after its end, and before its begin where the alignment errs.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from echostream.errors import DataError
from echostream.scoring.formulas import (
    length_adaptive_average_lagging,
    yet_another_average_lagging,
)
from echostream.scoring.instance import Instance
from echostream.scoring.problems import check_instances
from echostream.scoring.quality import QualityOptions, score_quality
from echostream.scoring.readings import Reading, compute_origin, times, total_compute
from echostream.scoring.resegmentation import Rule, Tokenizer, sentence_of_words
from echostream.scoring.scores import UNKNOWN, Figure, Scores, latency_signature, stated_segment
from echostream.scoring.sentences import Sentence


@dataclass(frozen=True)
class ScoredSentence:
    """A reference sentence and what was written for it; times in ms from its begin."""

    instance: Instance
    """Without times; its source length is the sentence's duration."""
    moments: dict[Reading, tuple[float, ...]]
    """When each word was there, in the readings that the log allows."""
    recording_end: float
    """End of the recording's last sentence."""


def _laal(sentence: ScoredSentence, moments: Sequence[float]) -> float:
    instance = sentence.instance
    return length_adaptive_average_lagging(
        moments, instance.source_length, instance.reference_length
    )


def _yaal(sentence: ScoredSentence, moments: Sequence[float]) -> float | None:
    instance = sentence.instance
    return yet_another_average_lagging(
        moments, instance.source_length, instance.reference_length, sentence.recording_end
    )


Formula = Callable[[ScoredSentence, Sequence[float]], float | None]

METRICS: tuple[tuple[str, Rule, Formula], ...] = (
    ("StreamLAAL", Rule.MWER, _laal),
    ("LongYAAL", Rule.SOFT, _yaal),
    ("LongLAAL", Rule.SOFT, _laal),
    ("CausalYAAL", Rule.CAUSAL, _yaal),
    ("CausalLAAL", Rule.CAUSAL, _laal),
)
"""Names in the field, how words are given to sentences, and the formula of a sentence."""


def score_long(
    recordings: Sequence[Instance],
    sentences: Sequence[Sentence],
    quality: QualityOptions | None = None,
    *,
    tokenize: Tokenizer | None = None,
    segment_size: float | None = None,
) -> Scores:
    """Quality and latency over sentences; quality by the soft alignment, as in OmniSTEval.

    Args:
        recordings: of one log, each without sentences.
        sentences: of all recordings, each one's in order.
        quality: as :func:`echostream.scoring.quality.score_quality`.
        tokenize: for the soft rule, see
            :func:`echostream.scoring.resegmentation.sentence_of_words`.
        segment_size: of the run's source, in ms, for the signatures.

    Raises DataError for recordings without sentences, sentences without a recording, and what the
    metrics refuse.
    """
    scored = {
        rule: resegmented(recordings, sentences, rule, tokenize if rule is Rule.SOFT else None)
        for rule in dict.fromkeys(rule for _, rule, _ in METRICS)
    }
    soft = [each.instance for each in scored[Rule.SOFT]]
    figures = [
        Figure(each.name, each.value, "", f"{each.signature}|align:{Rule.SOFT}")
        for each in score_quality(
            [instance.prediction for instance in soft],
            [instance.reference for instance in soft],
            quality or QualityOptions(),
        )
    ]
    origin = compute_origin(recordings)
    segment = UNKNOWN if segment_size is None else stated_segment(segment_size)
    for name, rule, formula in METRICS:
        for reading in Reading:
            mean, count = mean_latency(scored[rule], formula, reading)
            signature = latency_signature(
                name,
                (("len", "max(ref,hyp)"), ("align", rule)),
                reading=reading,
                segment=segment,
                unit=recordings[0].unit,
                origin=origin,
            )
            figures.append(Figure(name + reading.value, mean, "ms", signature, count))
    costs = [total_compute(each) for each in recordings]
    spent = [cost for cost in costs if cost is not None]
    length = math.fsum(each.source_length for each in recordings)
    if len(spent) == len(costs) and length > 0:
        signature = f"compute_RTF|from:{origin}|avg:source"
        figures.append(Figure("compute_RTF", math.fsum(spent) / length, "", signature))
    counts = {
        "recordings": len(recordings),
        "instances": len(soft),
        "words": sum(len(each.delays) for each in recordings),
        "reference_words": sum(each.reference_length for each in soft),
        "latency_instances": sum(bool(each.moments) for each in scored[Rule.SOFT]),
    }
    found_problems = check_instances(recordings, has_references=False)
    problems = [each for each in found_problems if each.kind != "long-recording"]
    return Scores(tuple(figures), counts, tuple(problems))


def mean_latency(
    sentences: Sequence[ScoredSentence], formula: Formula, reading: Reading
) -> tuple[float | None, int]:
    """Mean over the sentences that have a value, None if there is none, and how many have."""
    found = [
        formula(each, each.moments[reading])
        for each in sentences
        if each.moments.get(reading) and each.instance.source_length > 0
    ]
    values = [value for value in found if value is not None]
    return (math.fsum(values) / len(values) if values else None), len(values)


def resegmented(
    recordings: Sequence[Instance],
    sentences: Sequence[Sentence],
    rule: Rule,
    tokenize: Tokenizer | None = None,
) -> list[ScoredSentence]:
    """Every sentence with its words, in the order of ``sentences``. Errors as :func:`score_long`.

    A recording without times, for what is wrong with them, still has its text.
    """
    result: dict[int, ScoredSentence] = {}
    for recording, own in _paired(recordings, sentences):
        is_character = recording.unit.is_character
        units = list(recording.prediction) if is_character else recording.prediction.split()
        texts = [
            list("".join(sentence.text.split())) if is_character else sentence.text.split()
            for _, sentence in own
        ]
        is_timed = len(recording.delays) == len(units)
        owner = sentence_of_words(
            units,
            texts,
            rule if is_timed or rule is not Rule.CAUSAL else Rule.SOFT,
            tokenize=None if is_character else tokenize,
            is_exact=is_character,
            written=recording.delays,
            begins=[sentence.offset for _, sentence in own],
        )
        found = with_words(recording, [sentence for _, sentence in own], owner)
        for (index, _), scored in zip(own, found, strict=True):
            instance = replace(scored.instance, index=index)
            result[index] = replace(scored, instance=instance)
    return [result[index] for index in range(len(sentences))]


def with_words(
    recording: Instance, sentences: Sequence[Sentence], owner: Sequence[int]
) -> list[ScoredSentence]:
    """The sentences of one recording with the words that are theirs.

    owner: of each word the place of its sentence, never decreasing.
    """
    is_character = recording.unit.is_character
    units = list(recording.prediction) if is_character else recording.prediction.split()
    known = {reading: times(recording, reading) for reading in Reading}
    end = max(sentence.end for sentence in sentences)
    result = []
    for place, sentence in enumerate(sentences):
        words = range(bisect_left(owner, place), bisect_left(owner, place + 1))
        instance = replace(
            recording,
            index=place,
            prediction=("" if is_character else " ").join(units[number] for number in words),
            reference=sentence.text,
            source_length=sentence.duration,
            delays=(),
            elapsed=(),
            segments=(),
            faults=(),
        )
        moments = {
            reading: tuple(moments[number] - sentence.offset for number in words)
            for reading, moments in known.items()
            if moments and words
        }
        result.append(ScoredSentence(instance, moments, end - sentence.offset))
    return result


def _paired(
    recordings: Sequence[Instance], sentences: Sequence[Sentence]
) -> list[tuple[Instance, list[tuple[int, Sentence]]]]:
    """Each recording with its sentences and their places, found by the name of its file."""
    by_name: dict[str, list[tuple[int, Sentence]]] = {}
    for index, sentence in enumerate(sentences):
        by_name.setdefault(Path(sentence.recording).stem, []).append((index, sentence))
    names = [Path(recording.source_file).stem for recording in recordings]
    if sorted(names) != sorted(by_name):
        odd = sorted(set(names) ^ set(by_name)) or [n for n in names if names.count(n) > 1]
        raise DataError(
            f"{len(names)} recordings in the log and {len(by_name)} in the list of segments; "
            f"expected the same ones, each once; not in both or there twice: {', '.join(odd[:5])}"
        )
    return [(each, by_name[name]) for each, name in zip(recordings, names, strict=True)]
