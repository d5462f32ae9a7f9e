"""Sufficient statistics per utterance, so that a corpus figure can be computed for any resample.

Legend: n utterances, k statistics of an utterance, R resamples; w [R, n] how often an utterance is
in a resample; t [R, k] = w @ statistics, the totals of a resample.

A corpus figure that depends on the utterances through sums only (a mean, a ratio of sums such as
WER, BLEU from n-gram counts, chrF) is ``score(t)``. No text is looked at again for a resample.

sacreBLEU offers the statistics of a sentence through hooks of its base class ``Metric`` that begin
with an underscore. Its own significance tests rest on them, they are the same from 2.4.0 to 2.6.0,
and :func:`sacrebleu_sample` refuses to go on if they give another figure than ``corpus_score``.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sacrebleu.metrics.base import Metric

from echostream.errors import DataError
from echostream.scoring.instance import Instance
from echostream.scoring.latency import LatencyMetric, per_instance
from echostream.scoring.quality import edits, require_pairs
from echostream.scoring.readings import Reading

Array = NDArray[np.float64]

_BLOCK = 2**21
"""Most entries of w that are made at once (16 MB), so that R * n is not bounded by memory."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One metric of one system over n utterances, in the order of their indices."""

    metric: str
    """Name, with signature where there is one. Two samples of the same metric can be compared."""
    indices: tuple[int, ...]
    """Which utterances: [n] increasing, as ``Instance.index``. Resampling needs at least 2."""
    statistics: Array
    """[n, k], finite."""
    score: Callable[[Array], Array]
    """[R, k] totals -> [R] figures; NaN where a figure is undefined."""

    @property
    def value(self) -> float:
        """The figure of the corpus itself; NaN if undefined."""
        return float(self.score(self.statistics.sum(axis=0, keepdims=True))[0])

    def values(self, weights: ArrayLike) -> Array:
        """Figures of resamples: weights [R, n] -> [R]."""
        return self.score(np.asarray(weights, dtype=np.float64) @ self.statistics)


def mean_sample(
    metric: str, values: Iterable[float | None], indices: Iterable[int] | None = None
) -> Sample:
    """Mean over the utterances that have a value.

    values: [n] one per utterance; None or NaN where undefined. indices: [n], by default 0 .. n-1.
    The figure is NaN if no utterance has a value: how many have one varies with the resample too.

    Raises DataError for no values, infinite ones, and repeated indices.
    """
    x = np.array([math.nan if value is None else value for value in values], dtype=np.float64)
    defined = ~np.isnan(x)
    return ratio_sample(metric, np.where(defined, x, 0.0), defined, indices)


def ratio_sample(
    metric: str,
    numerators: Iterable[float],
    denominators: Iterable[float],
    indices: Iterable[int] | None = None,
    scale: float = 1.0,
) -> Sample:
    """``scale`` * sum of numerators / sum of denominators: compute RTF, word error rate.

    numerators, denominators: [n] each, for instance ms of computing and ms of audio. The figure is
    NaN where the denominators add up to 0. Indices and errors as :func:`mean_sample`.
    """

    def score(totals: Array) -> Array:
        result = np.full(len(totals), math.nan)
        np.divide(scale * totals[:, 0], totals[:, 1], out=result, where=totals[:, 1] > 0)
        return result

    statistics = np.stack([np.array(list(x), float) for x in (numerators, denominators)], axis=-1)
    return _sample(metric, statistics, score, indices)


def latency_sample(
    instances: Sequence[Instance], metric: LatencyMetric, reading: Reading = Reading.IDEAL
) -> Sample:
    """A latency metric; its value is :func:`echostream.scoring.latency.mean_latency`'s.

    Instances that it skips are undefined here. Errors as :func:`mean_sample`.
    """
    name = metric.name + reading.value
    indices = [ins.index for ins in instances]
    values = per_instance(instances, metric, reading)
    if not metric.by_source_length:
        return mean_sample(name, values, indices)
    both = list(zip(instances, values, strict=True))
    weights = [0.0 if value is None else ins.source_length for ins, value in both]
    weighted = [ins.source_length * (value or 0.0) for ins, value in both]
    return ratio_sample(name, weighted, weights, indices)


def error_rate_sample(
    name: str,
    hypotheses: Sequence[str],
    references: Sequence[str],
    indices: Iterable[int] | None = None,
) -> Sample:
    """``WER`` or ``CER`` in percent, as :func:`echostream.scoring.quality.error_rate`.

    Raises DataError for no or different numbers of texts, and for indices as :func:`mean_sample`.
    """
    require_pairs(name, hypotheses, references)
    pairs = zip(hypotheses, references, strict=True)
    counts = [edits(name, hypothesis, reference) for hypothesis, reference in pairs]
    errors, lengths = zip(*counts, strict=True)
    return ratio_sample(name, errors, lengths, indices, scale=100.0)


def sacrebleu_sample(
    metric: Metric,
    hypotheses: Sequence[str],
    references: Sequence[str],
    indices: Iterable[int] | None = None,
) -> Sample:
    """Any corpus metric of sacreBLEU (BLEU, chrF, TER) with one reference for each hypothesis.

    Raises DataError for no or different numbers of texts, for indices as :func:`mean_sample`, and
    if the statistics do not lead to ``metric.corpus_score`` (an unknown release of sacreBLEU).
    """
    name = type(metric).__name__
    require_pairs(name, hypotheses, references)
    whole = metric.corpus_score(hypotheses, [references])
    statistics = np.array(metric._extract_corpus_statistics(hypotheses, [references]), np.float64)

    def score(totals: Array) -> Array:
        # The totals of counts are whole numbers, which float64 holds exactly up to 2**53.
        rows = totals.tolist()
        return np.array([metric._compute_score_from_stats(row).score for row in rows], np.float64)

    sample = _sample(f"{whole.name}|{metric.get_signature()}", statistics, score, indices)
    if not abs(sample.value - whole.score) < 1e-9:
        raise DataError(
            f"{name}: the statistics of the sentences give {sample.value}, sacreBLEU gives "
            f"{whole.score}; expected the same; install sacreBLEU 2.4 to 2.6"
        )
    return sample


def resample_weights(utterances: int, num_resamples: int, seed: int) -> Iterator[Array]:
    """Blocks of w [R', n], R in all: n utterances drawn with replacement for each row.

    The draws are those of sacreBLEU for the same seed, number of resamples and utterances.
    """
    generator = np.random.default_rng(seed)
    for rows in _blocks(utterances, num_resamples):
        drawn = generator.choice(utterances, size=(rows, utterances), replace=True)
        drawn += utterances * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * utterances)
        yield counts.reshape(rows, utterances).astype(np.float64)


def resampled_values(samples: Sequence[Sample], num_resamples: int, seed: int) -> Array:
    """[R, number of samples]: in a row, every sample is scored on the same resampled utterances.

    Raises DataError as :func:`require_resampling`.
    """
    require_resampling(samples, num_resamples)
    blocks = resample_weights(len(samples[0].indices), num_resamples, seed)
    return np.concatenate(
        [np.stack([sample.values(w) for sample in samples], axis=-1) for w in blocks]
    )


def swapped_differences(one: Sample, other: Sample, num_trials: int, seed: int) -> Array:
    """[R] distances of the two figures, at least 0 or NaN, after swapping each utterance's two
    outputs, or not, by the toss of a coin.

    Raises DataError as :func:`require_resampling`.
    """
    require_resampling([one, other], num_trials)
    generator = np.random.default_rng(seed)
    differences = []
    for rows in _blocks(len(one.indices), num_trials):
        keep = generator.integers(2, size=(rows, len(one.indices)), dtype=np.bool_).astype(float)
        first = one.score(keep @ one.statistics + (1 - keep) @ other.statistics)
        second = one.score((1 - keep) @ one.statistics + keep @ other.statistics)
        differences.append(np.abs(second - first))
    return np.concatenate(differences)


def require_resampling(samples: Sequence[Sample], number: int) -> None:
    """DataError unless all samples are of the same utterances, at least 2, and have a value, and
    ``number`` is at least 100."""
    if number < 100:
        raise DataError(f"number of resamples is {number}; expected a whole number from 100 up")
    if not samples:
        raise DataError("no samples to resample; expected at least one")
    first = samples[0]
    for sample in samples:
        if sample.indices != first.indices:
            odd = sorted(set(sample.indices) ^ set(first.indices))
            raise DataError(
                f"{sample.metric} is of {len(sample.indices)} utterances and {first.metric} of "
                f"{len(first.indices)}, of which {len(odd)} are in one only (first: index {odd[0]})"
                "; expected the same; score both systems on the utterances they share"
            )
        if math.isnan(sample.value):
            raise DataError(
                f"{sample.metric} is undefined for all {len(sample.indices)} utterances; expected "
                "a value for at least one; leave the metric out"
            )
    if len(first.indices) < 2:
        raise DataError("1 utterance to resample; expected at least 2, better some hundreds")


def _sample(
    metric: str,
    statistics: Array,
    score: Callable[[Array], Array],
    indices: Iterable[int] | None,
) -> Sample:
    numbers = np.array(list(range(len(statistics)) if indices is None else indices))
    if not len(numbers) or len(np.unique(numbers)) < len(numbers):
        raise DataError(f"{metric}: no utterance, or an index twice; expected each index once")
    if not np.isfinite(statistics).all():
        row = int(np.flatnonzero(~np.isfinite(statistics).all(axis=1))[0])
        raise DataError(f"{metric}: the value of index {numbers[row]} is not finite")
    # Two logs need not have the same order, but a resample must mean the same utterances in both.
    order = np.argsort(numbers)
    return Sample(metric, tuple(numbers[order].tolist()), statistics[order], score)


def _blocks(utterances: int, number: int) -> Iterator[int]:
    """Row counts of at most ``_BLOCK`` entries each that add up to ``number``."""
    rows = max(1, _BLOCK // utterances)
    for start in range(0, number, rows):
        yield min(rows, number - start)
