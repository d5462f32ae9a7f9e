"""Intervals for the figures of a run, and tests of several runs against the first.

What is resampled are utterances; see :mod:`echostream.scoring.significance` for what that covers.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sacrebleu.metrics.chrf import CHRF

from echostream.scoring.instance import Instance
from echostream.scoring.latency import ALL_METRICS
from echostream.scoring.quality import QualityOptions, bleu_metric, prepared, tokenizer_of
from echostream.scoring.resampling import (
    Sample,
    error_rate_sample,
    latency_sample,
    sacrebleu_sample,
)
from echostream.scoring.scores import Scores, options_for
from echostream.scoring.significance import (
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
        metric = bleu_metric(tokenizer_of(quality))
        samples["BLEU"] = sacrebleu_sample(metric, said, wanted, indices)
    if "chrF" in names:
        samples["chrF"] = sacrebleu_sample(CHRF(), said, wanted, indices)
    for name in ("WER", "CER"):
        is_defined = any(wanted) and not (quality.is_unspaced and name == "WER")
        if name in names and is_defined:
            samples[name] = error_rate_sample(name, said, wanted, indices)
    for latency in ALL_METRICS:
        for reading in latency.readings:
            name = latency.name + reading.value
            if name in names:
                sample = latency_sample(instances, latency, reading)
                samples |= {} if math.isnan(sample.value) else {name: sample}
    return samples


def with_intervals(
    scores: Scores,
    instances: Sequence[Instance],
    num_resamples: int = NUM_RESAMPLES,
    *,
    quality: QualityOptions | None = None,
) -> Scores:
    """The scores of a run with 95 % intervals; each signature says how they were drawn.

    Raises DataError for fewer than 2 instances or fewer than 100 resamples.
    """
    samples = samples_of(instances, list(scores.values), quality)
    drawn = bootstrap(samples, num_resamples)
    figures = []
    for figure in scores.figures:
        if figure.name in drawn.estimates:
            found = drawn.estimates[figure.name]
            signature = f"{figure.signature}|{drawn.signature}"
            figure = replace(figure, low=found.low, high=found.high, signature=signature)
        figures.append(figure)
    return replace(scores, figures=tuple(figures))


def paired_tests(
    runs: Mapping[str, Sequence[Instance]],
    num_resamples: int = NUM_RESAMPLES,
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
                baseline[name], system[name], num_resamples=num_resamples
            )
            for name in names
            if name in baseline and name in system
        }
    return result
