"""Agreement with two other programs on random logs: OmniSTEval and the release of SimulEval.

The release's scorers are right as such (what it gets wrong is which times it hands them), and its
``latency_scorer.py`` is otherwise that of main.
"""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given, settings

from echostream.scoring.instance import Instance
from echostream.scoring.latency import LATENCY_METRICS, mean_latency
from echostream.scoring.quality import bleu

from .logs import as_record, corpora

REL, ABS = 1e-9, 1e-6


@settings(deadline=None, max_examples=300)
@given(corpora())
def test_omnisteval(corpus: list[Instance]) -> None:
    data = pytest.importorskip("omnisteval.data")
    scoring = pytest.importorskip("omnisteval.scoring")
    theirs = [
        data.Instance(
            prediction=ins.prediction,
            reference=ins.reference,
            source_length=ins.source_length,
            emission_cu=list(ins.delays),
            emission_ca=list(ins.elapsed),
        )
        for ins in corpus
    ]
    compared = [metric for metric in LATENCY_METRICS if metric.name != "ATD"]
    assert len(compared) == 4
    for metric, computation_aware in itertools.product(compared, (False, True)):
        scorer = getattr(scoring, f"{metric.name}Scorer")(computation_aware=computation_aware)
        ours = mean_latency(corpus, metric, computation_aware).value
        assert ours == pytest.approx(scorer(theirs), rel=REL, abs=ABS), (
            metric.name,
            computation_aware,
        )


@pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated:DeprecationWarning")
@settings(deadline=None, max_examples=300)
@given(corpora())
def test_simuleval(corpus: list[Instance]) -> None:
    instance = pytest.importorskip("simuleval.evaluator.instance")
    scorers = pytest.importorskip("simuleval.evaluator.scorers.latency_scorer")
    theirs = {ins.index: instance.LogInstance(json.dumps(as_record(ins))) for ins in corpus}
    for metric, computation_aware in itertools.product(LATENCY_METRICS, (False, True)):
        scorer = scorers.LATENCY_SCORERS_DICT[metric.name](computation_aware=computation_aware)
        ours = mean_latency(corpus, metric, computation_aware).value
        assert ours == pytest.approx(scorer(theirs), rel=REL, abs=ABS), (
            metric.name,
            computation_aware,
        )


def test_simuleval_bleu() -> None:
    instance = pytest.importorskip("simuleval.evaluator.instance")
    scorers = pytest.importorskip("simuleval.evaluator.scorers.quality_scorer")
    predictions = ["the cat sat on a mat .", "", "it's 3.5 % of all, roughly speaking"]
    references = ["the cat sat on the mat.", "nothing", "It's 3.5% of all, roughly speaking."]
    theirs = {}
    for index, (prediction, reference) in enumerate(zip(predictions, references, strict=True)):
        line = {"index": index, "prediction": prediction, "reference": reference}
        theirs[index] = instance.LogInstance(json.dumps(line))
    assert bleu(predictions, references).value == scorers.SacreBLEUScorer()(theirs) > 0
