"""Intervals for the figures of a run, and tests of several runs against the first.

What is resampled are utterances; see :mod:`echostream.scoring.significance` for what that covers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from echostream.errors import DataError
from echostream.scoring.instance import Instance
from echostream.scoring.latency import ALL_METRICS, per_instance
from echostream.scoring.quality import QualityOptions, prepared, tokenizer_of
from echostream.scoring.resampling import (
    Sample,
    bleu_sample,
    chrf_sample,
    error_rate_sample,
    latency_sample,
)
from echostream.scoring.scores import Scores, options_for
from echostream.scoring.significance import (
    DEFAULT_SEED,
    NUM_RESAMPLES,
    PairedComparison,
    approximate_randomisation,
    bootstrap,
)

TESTED = ("BLEU", "chrF", "WER", "CER", "LAAL", "LAAL_CA", "LAAL_RT", "compute_RTF")
"""Figures in which runs are tested against each other."""


def samples_of(
    instances: Sequence[Instance], names: Sequence[str], quality: QualityOptions | None = None
) -> dict[str, Sample]:
    """What is resampled for each figure.

    Args:
        instances: of one run with text output.
        names: figures, as ``Scores`` names them; those without a value are left out.
        quality: of which text quality figures are.
    """
    samples: dict[str, Sample] = {}
    indices = [instance.index for instance in instances]
    quality = options_for(instances, quality or QualityOptions())
    said = prepared([instance.prediction for instance in instances], quality)
    wanted = prepared([instance.reference for instance in instances], quality)
    if "BLEU" in names:
        samples["BLEU"] = bleu_sample(said, wanted, indices, tokenizer_of(quality))
    if "chrF" in names:
        samples["chrF"] = chrf_sample(said, wanted, indices)
    for name in ("WER", "CER"):
        is_defined = any(wanted) and not (quality.is_unspaced and name == "WER")
        if name in names and is_defined:
            samples[name] = error_rate_sample(name, said, wanted, indices)
    for metric in ALL_METRICS:
        for reading in metric.readings:
            if metric.name + reading.value in names and any(
                value is not None for value in per_instance(instances, metric, reading)
            ):
                samples[metric.name + reading.value] = latency_sample(instances, metric, reading)
    return samples


def with_intervals(
    scores: Scores,
    instances: Sequence[Instance],
    num_resamples: int = NUM_RESAMPLES,
    seed: int = DEFAULT_SEED,
    *,
    quality: QualityOptions | None = None,
) -> Scores:
    """The scores of a run with 95 % intervals; each signature says how they were drawn.

    Raises DataError for fewer than 2 instances, fewer than 100 resamples or a seed below 0.
    """
    samples = samples_of(instances, list(scores.values), quality)
    drawn = bootstrap(samples, num_resamples, seed)
    figures = []
    for figure in scores.figures:
        estimate = drawn.estimates.get(figure.name)
        if estimate is not None:
            if figure.value is None or abs(figure.value - estimate.value) > 1e-6:
                raise DataError(
                    f"{figure.name} is {figure.value} but its sample has {estimate.value}; "
                    "expected the same: the instances are not those that were scored"
                )
            figure = replace(
                figure,
                low=estimate.low,
                high=estimate.high,
                signature=f"{figure.signature}|{drawn.signature}",
            )
        figures.append(figure)
    return replace(scores, figures=tuple(figures))


def paired_tests(
    runs: Mapping[str, Sequence[Instance]],
    num_resamples: int = NUM_RESAMPLES,
    seed: int = DEFAULT_SEED,
    *,
    names: Sequence[str] = TESTED,
    quality: QualityOptions | None = None,
) -> dict[str, dict[str, PairedComparison]]:
    """Each run but the first against the first, figure by figure, by approximate randomisation.

    Raises DataError if the runs are not of the same utterances.
    """
    (_, first), *others = runs.items()
    baseline = samples_of(first, names, quality)
    result = {}
    for title, instances in others:
        system = samples_of(instances, names, quality)
        result[title] = {
            name: approximate_randomisation(
                baseline[name], system[name], num_resamples=num_resamples, seed=seed
            )
            for name in names
            if name in baseline and name in system
        }
    return result


def format_paired_tests(tests: Mapping[str, Mapping[str, PairedComparison]], first: str) -> str:
    """A Markdown table: difference to the first run, its interval, p."""
    lines = [
        f"Difference to {first}, with 95 % interval and p by approximate randomisation:",
        "",
        "| run | figure | first | this | difference | 95 % interval | p |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for title, found in tests.items():
        for name, test in found.items():
            change = test.difference
            lines.append(
                f"| {title.replace('|', chr(92) + '|')} | {name} | {test.baseline:.3f} | "
                f"{test.system:.3f} | {change.value:+.3f} | [{change.low:+.3f}, {change.high:+.3f}]"
                f" | {test.p_value:.4f} |"
            )
    signatures = {test.signature for found in tests.values() for test in found.values()}
    lines += ["", *sorted(signatures)]
    return "\n".join(lines)
