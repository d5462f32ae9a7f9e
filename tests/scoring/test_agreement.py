"""Agreement with two other programs on random logs: OmniSTEval and the release of SimulEval.

The release's scorers are right as such (what it gets wrong is which times it hands them), and its
``latency_scorer.py`` is otherwise that of main.
"""

import itertools
import json
import math

import pytest
from hypothesis import given, settings

from echostream.scoring.instance import Instance
from echostream.scoring.latency import ALL_METRICS, LATENCY_METRICS, mean_latency
from echostream.scoring.problems import degeneracy
from echostream.scoring.quality import bleu, chrf
from echostream.scoring.readings import Reading, real_time_of_elapsed

from .logs import as_record, corpora, utterances

REL, ABS = 1e-9, 1e-6
METRICS = {metric.name: metric for metric in ALL_METRICS}
READINGS = (Reading.IDEAL, Reading.COMPUTATION_AWARE)


@settings(deadline=None, max_examples=150)
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
    for name, reading in itertools.product(("LAAL", "AL", "AP", "DAL", "YAAL"), READINGS):
        is_aware = reading is Reading.COMPUTATION_AWARE
        scorer = getattr(scoring, f"{name}Scorer")(computation_aware=is_aware)
        ours = mean_latency(corpus, METRICS[name], reading)[0]
        expected = scorer(theirs)
        if math.isnan(expected):  # YAAL of a corpus where all was written at the end
            assert ours is None
        else:
            assert ours == pytest.approx(expected, rel=REL, abs=ABS), (name, reading)
    expected = scoring.ShortformDegeneracyScorer()(theirs)
    found = degeneracy(corpus)
    if found is None:
        assert math.isnan(expected["dsptv"])
    else:
        assert found.simultaneous == pytest.approx(expected["swf"], rel=REL, abs=ABS)
        assert found.expected == pytest.approx(expected["efsw"], rel=REL, abs=ABS)
        assert found.test_value == pytest.approx(expected["dsptv"], rel=REL, abs=ABS)


@settings(deadline=None, max_examples=150)
@given(utterances())
def test_real_time_is_never_below_omnistevals_repair(ins: Instance) -> None:
    data = pytest.importorskip("omnisteval.data")
    alignment = pytest.importorskip("omnisteval.alignment")
    words = [
        alignment.Word("word", emission_cu=delay, emission_ca=elapsed)
        for delay, elapsed in zip(ins.delays, ins.elapsed, strict=True)
    ]
    repaired = [word.emission_ca for word in data.fix_emission_ca(words)]
    ours = real_time_of_elapsed(ins.delays, ins.elapsed)
    for our, their, elapsed in zip(ours, repaired, ins.elapsed, strict=True):
        assert their - 1e-6 <= our <= elapsed + 1e-6
    # The same where no write is still being computed when the audio of the next one is there.
    if all(
        done <= start or delay == start
        for done, start, delay in zip(ours, ins.delays[1:], ins.delays, strict=False)
    ):
        assert repaired == pytest.approx(list(ours), abs=1e-6)


@pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated:DeprecationWarning")
@settings(deadline=None, max_examples=150)
@given(corpora())
def test_simuleval(corpus: list[Instance]) -> None:
    instance = pytest.importorskip("simuleval.evaluator.instance")
    scorers = pytest.importorskip("simuleval.evaluator.scorers.latency_scorer")
    theirs = {ins.index: instance.LogInstance(json.dumps(as_record(ins))) for ins in corpus}
    compared = {metric.name: metric for metric in LATENCY_METRICS}
    compared |= {name: METRICS[name] for name in ("StartOffset", "EndOffset", "NumChunks")}
    compared["RTF"] = METRICS["EndRatio"]
    for (name, metric), reading in itertools.product(compared.items(), READINGS):
        if reading not in metric.readings:
            continue
        is_aware = reading is Reading.COMPUTATION_AWARE
        scorer = scorers.LATENCY_SCORERS_DICT[name](computation_aware=is_aware)
        ours = mean_latency(corpus, metric, reading)[0]
        assert ours == pytest.approx(scorer(theirs), rel=REL, abs=ABS), (name, reading)


def test_omnisteval_quality() -> None:
    data = pytest.importorskip("omnisteval.data")
    scoring = pytest.importorskip("omnisteval.scoring")
    predictions = ["the cat sat on a mat .", "", "it's 3.5 % of all, roughly speaking"]
    references = ["the cat sat on the mat.", "nothing", "It's 3.5% of all, roughly speaking."]
    theirs = [
        data.Instance(prediction=prediction, reference=reference)
        for prediction, reference in zip(predictions, references, strict=True)
    ]
    assert bleu(predictions, references).value == scoring.SacreBLEUScorer()(theirs)
    assert chrf(predictions, references).value == scoring.ChrFScorer()(theirs)
