"""Quality worked out by hand; agreement with OmniSTEval and SimulEval's release on random logs.

The release's scorers are right as such (what it gets wrong is which times it hands them), and its
``latency_scorer.py`` is otherwise that of main.
"""

import itertools
import json
import math

import pytest
from hypothesis import given, settings
from sacrebleu import __version__

from echostream.errors import DataError
from echostream.scoring.degeneracy import degeneracy
from echostream.scoring.instance import Instance
from echostream.scoring.latency import ALL_METRICS, LATENCY_METRICS, mean_latency
from echostream.scoring.quality import QualityOptions, bleu, chrf, error_rate, score_quality
from echostream.scoring.readings import Reading, real_time_of_elapsed

from .logs import as_record, corpora, utterances


def test_bleu_and_chrf_are_sacrebleus() -> None:
    # 13a tokens: precisions of 1, brevity exp(1 - 6/5).
    found = bleu(["a b c d e"], ["a b c d e f"])
    assert found.value == pytest.approx(100 * math.exp(-0.2))
    expected = f"BLEU|nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:{__version__}"
    assert found.signature == expected
    # One token for 13a, four for zh.
    assert bleu(["今天很好"], ["今天很好吗"]).value == 0
    found = bleu(["今天很好"], ["今天很好吗"], tokenizer="zh")
    assert found.value > 50 and "|tok:zh|" in found.signature
    expected = f"chrF|nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:{__version__}"
    assert chrf(["a"], ["a"]).signature == expected


@pytest.mark.parametrize(
    ("hypotheses", "references", "tokenizer"),
    [([], [], "13a"), (["a"], [], "13a"), (["a"], ["a", "b"], "13a"), (["a"], ["a"], "moses")],
)
def test_refusals(hypotheses: list[str], references: list[str], tokenizer: str) -> None:
    with pytest.raises(DataError, match="expected"):
        bleu(hypotheses, references, tokenizer)


@pytest.mark.parametrize(
    ("name", "hypotheses", "references", "expected"),
    [
        ("WER", ["a x c d"], ["a b c"], 100 * 2 / 3),  # one substitution, one insertion
        ("WER", ["a"], ["a b c"], 100 * 2 / 3),  # two deletions
        ("WER", [""], ["a b"], 100),
        ("WER", ["A b."], ["a b"], 100),  # case and punctuation count
        ("WER", ["a  b\tc"], ["a b\u00a0c"], 0),  # white space does not
        ("WER", ["x y z", "a b"], ["a", "a b"], 100 * 3 / 3),  # over the corpus
        ("WER", ["x y", "a b"], ["", "a b"], 100),  # words against nothing are errors
        ("WER", ["a", ""], ["", " "], None),
        ("CER", ["abc"], ["ab c"], 25),  # a space is a character
        ("CER", ["xb c", ""], ["ab c", "y"], 100 * 2 / 5),
        ("CER", ["ab"], [" "], None),
    ],
)
def test_error_rates_by_hand(
    name: str, hypotheses: list[str], references: list[str], expected: float | None
) -> None:
    assert error_rate(name, hypotheses, references).value == pytest.approx(expected)


def test_signatures_of_error_rates() -> None:
    for name, tokens in (("WER", "space"), ("CER", "char")):
        signature = error_rate(name, ["a"], ["a"]).signature
        assert signature.startswith(f"{name}|nrefs:1|case:mixed|tok:{tokens}|version:jiwer-")


def test_normalised_text_is_scored_and_said_so() -> None:
    hypotheses, references = ["ONE, two"], ["one two!"]
    plain = score_quality(hypotheses, references, QualityOptions(("wer", "chrf")))
    both = score_quality(
        hypotheses, references, QualityOptions(("wer", "chrf"), is_normalised=True)
    )
    assert [quality.name for quality in both] == ["WER", "chrF"]
    assert plain[0].value == 100 and both[0].value == 0
    assert both[1].value == pytest.approx(100)
    assert "normalised" not in plain[0].signature
    assert both[0].signature == plain[0].signature + "|text:normalised"


def test_accents_are_ignored_on_both_sides_only_if_asked_for() -> None:
    hypotheses, references = ["¿dónde está?", "el nino"], ["donde está?", "el niño"]
    plain = score_quality(hypotheses, references, QualityOptions(("wer", "cer")))
    both = QualityOptions(("wer", "cer"), is_normalised=True, ignores_accents=True)
    ignored = score_quality(hypotheses, references, both)
    assert [quality.value for quality in ignored] == [0, 0] and plain[0].value == 50
    assert ignored[0].signature == plain[0].signature + "|text:normalised|text:unaccented"


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
