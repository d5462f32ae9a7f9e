"""How far a figure, or a difference of two systems, depends on the utterances that were drawn.

:func:`bootstrap` gives percentile intervals for any number of figures and, because all are computed
on the same resampled utterances, the joint distribution of a latency and a quality figure.
:func:`approximate_randomisation` tests whether two systems differ.

All of this is about the choice of utterances alone, which are taken to be independent: utterances
of the same talk or speaker are not, and then intervals are too narrow and p-values too small. Not
covered: another training seed, other references, the noise of a timing (computation-aware figures
of one run), data of another domain. A p-value is for one test: where many systems are compared,
some fall below 0.05 by chance.

Legend: R resamples or trials, n utterances; d the difference of two systems.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from echostream.errors import DataError
from echostream.scoring.resampling import Array, Sample, resampled_values, swapped_differences

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


@dataclass(frozen=True)
class JointDistribution:
    """Two figures over the same resamples, for instance latency (x) and quality (y)."""

    value: tuple[float, float]
    """(x, y) of the utterances as they are: where the point of a plot is."""
    covariance: tuple[tuple[float, float], tuple[float, float]]

    def outline(self, points: int = 72) -> list[tuple[float, float]]:
        """Corners of a polygon, not closed, that is for the eye the ellipse in which the two lie
        *together* with probability 0.95, if they are normal.

        Centred on the value. It reaches further along each axis than the interval of one figure
        (2.45 and not 1.96 standard errors), which says nothing about the other one.
        """
        # In two dimensions the squared Mahalanobis distance has P(distance > q) = exp(-q / 2).
        radius = math.sqrt(-2 * math.log1p(-LEVEL))
        variances, axes = np.linalg.eigh(np.array(self.covariance))
        around = 2 * np.pi * np.arange(points) / points
        circle = np.stack([np.cos(around), np.sin(around)])
        scaled = radius * np.sqrt(variances.clip(0.0))[:, None] * circle
        corners = np.array(self.value) + (axes @ scaled).T
        return [(x, y) for x, y in corners.tolist()]


@dataclass(frozen=True)
class Bootstrap:
    """Figures of any number of systems and metrics on the same resampled utterances."""

    estimates: dict[str, Estimate]
    covariance: tuple[tuple[float, ...], ...]
    """Over the resamples, in the order of ``estimates``."""
    signature: str
    """``bs:1000|seed:12345``."""

    def joint(self, x: str, y: str) -> JointDistribution:
        """Two of the figures by name."""
        names = list(self.estimates)
        i, j = names.index(x), names.index(y)
        cov = self.covariance
        return JointDistribution(
            (self.estimates[x].value, self.estimates[y].value),
            ((cov[i][i], cov[i][j]), (cov[j][i], cov[j][j])),
        )


@dataclass(frozen=True)
class PairedComparison:
    """A system against a baseline on the same utterances."""

    baseline: float
    system: float
    difference: Estimate
    """System - baseline; its interval is that of the paired bootstrap (Koehn 2004, W04-3250)."""
    p_value: float
    """Two-sided, (count + 1) / (R + 1), so never 0: how often chance alone gives a difference as
    large as this one. 1 for two systems with the same output."""
    signature: str
    """``ar:10000|bs:1000|seed:12345``."""


def bootstrap(
    samples: Mapping[str, Sample], num_resamples: int = NUM_RESAMPLES, seed: int = DEFAULT_SEED
) -> Bootstrap:
    """95 % intervals of all samples and their covariance, by the percentile method.

    samples: by a name of the caller's choice, such as ``"wait-3 LAAL"``; all of the same
        utterances. num_resamples: at least 100. seed: at least 0; the same seed gives the same
        result, and the resamples that sacreBLEU draws with it.

    Resamples in which a figure is undefined are left out of it. Raises DataError for no samples,
    different or fewer than 2 utterances, a sample without any value, and too few resamples.
    """
    drawn = resampled_values(list(samples.values()), num_resamples, seed)
    estimates = {
        name: _estimate(sample.value, drawn[:, column])
        for column, (name, sample) in enumerate(samples.items())
    }
    covariance = np.atleast_2d(np.ma.cov(np.ma.masked_invalid(drawn), rowvar=False).filled(0.0))
    rows = tuple(tuple(row) for row in covariance.tolist())
    return Bootstrap(estimates, rows, f"bs:{num_resamples}|seed:{seed}")


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
    if baseline.metric != system.metric:
        raise DataError(
            f"the baseline is measured in {baseline.metric} and the system in {system.metric}; "
            "expected the same metric with the same options"
        )
    drawn = resampled_values([baseline, system], num_resamples, seed)
    swapped = swapped_differences(baseline, system, num_trials, seed)
    value = system.value - baseline.value
    # The same sum in another order differs by rounding. A trial without a value is counted against
    # the difference, and the + 1 is the data themselves.
    rounding = 1e-10 * max(abs(baseline.value), abs(system.value))
    extreme = (swapped >= abs(value) - rounding) | np.isnan(swapped)
    return PairedComparison(
        baseline=baseline.value,
        system=system.value,
        difference=_estimate(value, drawn[:, 1] - drawn[:, 0]),
        p_value=(int(extreme.sum()) + 1) / (num_trials + 1),
        signature=f"ar:{num_trials}|bs:{num_resamples}|seed:{seed}",
    )


def _estimate(value: float, drawn: Array) -> Estimate:
    defined = drawn[~np.isnan(drawn)]
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    return Estimate(value, low, high)
