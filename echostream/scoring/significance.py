"""How far a figure, or a difference of two systems, depends on the utterances that were drawn.

:func:`bootstrap` gives percentile intervals for any number of figures and, because all are computed
on the same resampled utterances, the joint distribution of a latency and a quality figure.
:func:`approximate_randomisation` tests whether two systems differ.

All of this is about the choice of utterances alone, which are taken to be independent: utterances
of the same talk or speaker are not, and then intervals are too narrow and p-values too small. Not
covered: another training seed, other references, the noise of a timing (computation-aware figures
of one run), data of another domain. A p-value is for one test: where many systems are compared,
some fall below 0.05 by chance.

Legend: R resamples or trials, n utterances; b the figure of the baseline, s of the system, * on a
resample; difference d = s - b.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from echostream.errors import DataError
from echostream.scoring.resampling import (
    Array,
    Sample,
    resampled_values,
    swapped_differences,
)

LEVEL = 0.95
"""Share of the resamples inside an interval, and of a normal distribution inside an ellipse."""

NUM_RESAMPLES = 1000
NUM_TRIALS = 10_000
DEFAULT_SEED = 12345
"""Numbers and seed of sacreBLEU."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its percentile interval (Efron 1979; for BLEU Koehn 2004, W04-3250)."""

    value: float
    """Of the utterances as they are."""
    low: float
    high: float
    """2.5 % and 97.5 % quantiles over the resamples; need not be symmetric about the value."""
    mean: float
    """Over the resamples. BLEU's differs from the value a little: brevity is not linear."""
    standard_error: float
    """Standard deviation over the resamples."""
    undefined: int
    """Resamples in which no utterance had a value; left out of the others."""


@dataclass(frozen=True)
class Ellipse:
    """A region of a plane. Lengths and angle are in data units: an axis drawn to another scale
    bends the angle, so draw :meth:`outline` or transform the shape with the data."""

    centre: tuple[float, float]
    semi_major: float
    semi_minor: float
    angle: float
    """Degrees from the x axis to the longer axis, counter-clockwise, above -90 and at most 90."""

    def outline(self, points: int = 72) -> list[tuple[float, float]]:
        """``points`` corners of a polygon that is the ellipse for the eye; not closed."""
        turn = math.radians(self.angle)
        corners = []
        for number in range(points):
            around = 2 * math.pi * number / points
            along, across = self.semi_major * math.cos(around), self.semi_minor * math.sin(around)
            corners.append(
                (
                    self.centre[0] + along * math.cos(turn) - across * math.sin(turn),
                    self.centre[1] + along * math.sin(turn) + across * math.cos(turn),
                )
            )
        return corners


@dataclass(frozen=True)
class JointDistribution:
    """Two figures over the same resamples, for instance latency (x) and quality (y)."""

    value: tuple[float, float]
    """(x, y) of the utterances as they are: where the point of a plot is."""
    centre: tuple[float, float]
    """Means over the resamples."""
    covariance: tuple[tuple[float, float], tuple[float, float]]

    def ellipse(self, level: float = LEVEL) -> Ellipse:
        """Where the two lie *together* with probability ``level``, if they are normal.

        Centred on the value. It reaches further along each axis than the interval of one figure
        (2.45 and not 1.96 standard errors for 95 %), which says nothing about the other one.

        Raises DataError for a level that is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise DataError(f"level of an ellipse is {level}; expected between 0 and 1, as 0.95")
        # In two dimensions the squared Mahalanobis distance has P(distance > q) = exp(-q / 2).
        radius = math.sqrt(-2 * math.log1p(-level))
        variances, axes = np.linalg.eigh(np.array(self.covariance))  # increasing
        minor, major = (radius * math.sqrt(max(0.0, variance)) for variance in variances.tolist())
        x, y = axes[:, 1].tolist()
        angle = math.degrees(math.atan2(y, x))
        # The axis has no direction: of the two angles the one right of the y axis.
        angle -= 180 * math.ceil((angle - 90) / 180)
        return Ellipse(self.value, major, minor, angle)


@dataclass(frozen=True)
class Bootstrap:
    """Figures of any number of systems and metrics on the same resampled utterances."""

    estimates: dict[str, Estimate]
    covariance: tuple[tuple[float, ...], ...]
    """Over the resamples, in the order of ``estimates``."""
    utterances: int
    num_resamples: int
    seed: int

    @property
    def signature(self) -> str:
        """``bs:1000|seed:12345``."""
        return f"bs:{self.num_resamples}|seed:{self.seed}"

    def joint(self, x: str, y: str) -> JointDistribution:
        """Two of the figures by name. Raises DataError for a name that is not there."""
        names = list(self.estimates)
        for name in (x, y):
            if name not in self.estimates:
                raise DataError(f"{name!r} was not resampled; expected one of {', '.join(names)}")
        i, j = names.index(x), names.index(y)
        one, other, cov = self.estimates[x], self.estimates[y], self.covariance
        return JointDistribution(
            (one.value, other.value),
            (one.mean, other.mean),
            ((cov[i][i], cov[i][j]), (cov[j][i], cov[j][j])),
        )


@dataclass(frozen=True)
class PairedComparison:
    """A system against a baseline on the same utterances."""

    metric: str
    baseline: float
    system: float
    difference: Estimate
    """System - baseline; its interval is that of the paired bootstrap (Koehn 2004, W04-3250)."""
    p_value: float
    """Two-sided, (count + 1) / (R + 1), so never 0: how often chance alone gives a difference as
    large as this one. 1 for two systems with the same output."""
    utterances: int
    signature: str
    """``ar:10000|bs:1000|seed:12345``."""


def bootstrap(
    samples: Mapping[str, Sample], num_resamples: int = NUM_RESAMPLES, seed: int = DEFAULT_SEED
) -> Bootstrap:
    """95 % intervals of all samples and their covariance, by the percentile method.

    samples: by a name of the caller's choice, such as ``"wait-3 LAAL"``; all of the same
        utterances. num_resamples: at least 100. seed: at least 0; the same seed gives the same
        result, and the resamples that sacreBLEU draws with it.

    Raises DataError for no samples, different or fewer than 2 utterances, a sample without any
    value, and numbers outside these ranges.
    """
    drawn = resampled_values(list(samples.values()), num_resamples, seed)
    estimates = {
        name: _estimate(sample.value, drawn[:, column])
        for column, (name, sample) in enumerate(samples.items())
    }
    utterances = len(next(iter(samples.values())).indices)
    return Bootstrap(estimates, _covariance(drawn), utterances, num_resamples, seed)


def approximate_randomisation(
    baseline: Sample,
    system: Sample,
    num_trials: int = NUM_TRIALS,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = DEFAULT_SEED,
) -> PairedComparison:
    """Whether two systems differ, by approximate randomisation (Riezler and Maxwell 2005, W05-0908;
    Noreen 1989), two-sided.

    If it does not matter which system said what, the two outputs of an utterance may be swapped.
    p = (#{trials with a difference of at least |d|} + 1) / (R + 1), with each utterance swapped or
    not by the toss of a coin. It errs less in few utterances than the paired bootstrap, which gives
    the interval of the difference only.

    num_trials, num_resamples: at least 100. Raises DataError as :func:`bootstrap`, and for samples
    of different metrics.
    """
    _require_same_metric(baseline, system)
    drawn = resampled_values([baseline, system], num_resamples, seed)
    swapped = swapped_differences(baseline, system, num_trials, seed)
    value = system.value - baseline.value
    return PairedComparison(
        metric=baseline.metric,
        baseline=baseline.value,
        system=system.value,
        difference=_estimate(value, drawn[:, 1] - drawn[:, 0]),
        p_value=_p_value(swapped, abs(value) - _rounding(baseline, system)),
        utterances=len(baseline.indices),
        signature=f"ar:{num_trials}|bs:{num_resamples}|seed:{seed}",
    )


def _p_value(by_chance: Array, threshold: float) -> float:
    # A trial without a value is counted against the difference. The + 1 is the data themselves.
    extreme = (by_chance >= threshold) | np.isnan(by_chance)
    return (int(extreme.sum()) + 1) / (len(by_chance) + 1)


def _rounding(baseline: Sample, system: Sample) -> float:
    """Below this two differences are equal: the same sum in another order."""
    return 1e-10 * max(abs(baseline.value), abs(system.value))


def _estimate(value: float, drawn: Array) -> Estimate:
    defined = drawn[~np.isnan(drawn)]
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    return Estimate(
        value=value,
        low=low,
        high=high,
        mean=float(defined.mean()),
        standard_error=float(defined.std(ddof=1)),
        undefined=len(drawn) - len(defined),
    )


def _covariance(drawn: Array) -> tuple[tuple[float, ...], ...]:
    """Of the columns of [R, m], each pair over the rows in which both are defined."""
    defined = ~np.isnan(drawn)
    columns = range(drawn.shape[1])
    matrix = np.atleast_2d(np.cov(drawn, rowvar=False))
    for i in columns:
        for j in columns:
            rows = defined[:, i] & defined[:, j]
            if not rows.all():
                matrix[i, j] = np.cov(drawn[rows][:, [i, j]], rowvar=False)[0, 1]
    return tuple(tuple(row) for row in matrix.tolist())


def _require_same_metric(baseline: Sample, system: Sample) -> None:
    if baseline.metric != system.metric:
        raise DataError(
            f"the baseline is measured in {baseline.metric} and the system in {system.metric}; "
            "expected the same metric with the same options"
        )
