"""Figures from sufficient statistics against the figures of the texts themselves."""

import math
from functools import partial

import jiwer
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from echostream.errors import DataError
from echostream.scoring import resampling
from echostream.scoring.instance import Instance
from echostream.scoring.latency import ALL_METRICS, mean_latency
from echostream.scoring.resampling import (
    Sample,
    error_rate_sample,
    latency_sample,
    mean_sample,
    ratio_sample,
    resampled_values,
    sacrebleu_sample,
    swapped_differences,
)

from .logs import corpora

WORDS = st.sampled_from(["a", "the", "cat", "sat", "on", "mat", "it's", "end.", "Über"])
TEXTS = st.lists(WORDS, max_size=9).map(" ".join)
PAIRS = st.lists(st.tuples(TEXTS, TEXTS), min_size=2, max_size=8)


@settings(deadline=None, max_examples=60)
@given(PAIRS, st.data())
def test_a_resample_scores_as_its_texts(pairs: list[tuple[str, str]], data: st.DataObject) -> None:
    positions = st.integers(0, len(pairs) - 1)
    drawn = data.draw(st.lists(positions, min_size=len(pairs), max_size=len(pairs)))
    hypotheses, references = map(list, zip(*pairs, strict=True))
    hyps, refs = ([texts[position] for position in drawn] for texts in (hypotheses, references))
    weights = [[drawn.count(position) for position in range(len(pairs))]]
    for metric in (BLEU(), BLEU(tokenize="char"), CHRF(), TER()):
        sample = sacrebleu_sample(metric, hypotheses, references)
        expected = metric.corpus_score(hyps, [refs]).score
        assert sample.values(weights)[0] == pytest.approx(expected, abs=1e-9)
    if all(references):
        sample = error_rate_sample("WER", hypotheses, references)
        assert sample.value == pytest.approx(100 * jiwer.wer(references, hypotheses), abs=1e-7)
        expected = 100 * jiwer.wer(refs, hyps)
        assert sample.values(weights)[0] == pytest.approx(expected, abs=1e-7)


@settings(deadline=None, max_examples=60)
@given(corpus=corpora(), data=st.data())
def test_latency_of_a_resample_is_that_of_its_instances(
    corpus: list[Instance], data: st.DataObject
) -> None:
    positions = st.integers(0, len(corpus) - 1)
    drawn = data.draw(st.lists(positions, min_size=len(corpus), max_size=len(corpus)))
    weights = [[drawn.count(position) for position in range(len(corpus))]]
    for metric in ALL_METRICS:
        for reading in metric.readings:
            sample = latency_sample(corpus, metric, reading)
            resampled = [corpus[position] for position in drawn]
            for found, instances in (
                (sample.value, corpus),
                (float(sample.values(weights)[0]), resampled),
            ):
                expected, _ = mean_latency(instances, metric, reading)
                assert sample.metric == metric.name + reading.value
                nothing = math.nan if expected is None else expected
                assert found == pytest.approx(nothing, rel=1e-9, abs=1e-9, nan_ok=True)


def test_a_mean_is_over_the_defined_and_a_ratio_of_the_sums() -> None:
    sample = mean_sample("LAAL", [10.0, None, 40.0, math.nan])
    assert sample.value == 25
    # 10 twice and 40 once; 40 once; none that has a value
    values = sample.values([[2, 1, 1, 0], [0, 2, 1, 1], [0, 3, 0, 1]])
    assert values[:2].tolist() == [20, 40]
    assert math.isnan(values[2])
    sample = ratio_sample("RTF", [100, 900], [1000, 1000], scale=100)
    assert sample.value == 50
    assert sample.values([[2, 0], [0, 2], [3, 1]]).tolist() == [10, 90, 30]
    assert math.isnan(ratio_sample("RTF", [1, 2], [0, 0]).value)


def test_utterances_are_ordered_by_index() -> None:
    sample = mean_sample("AL", [3.0, 1.0, 2.0], indices=[30, 10, 20])
    assert sample.indices == (10, 20, 30)
    assert sample.values(np.eye(3)).tolist() == [1, 2, 3]


def test_blocks_do_not_change_the_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = mean_sample("AL", [1.0, 5.0, 2.0, 7.0, 11.0])
    whole = resampled_values([sample], 500, seed=1)
    # an utterance more than a block holds is still a row
    for block in (35, 3):
        monkeypatch.setattr(resampling, "_BLOCK", block)
        assert resampled_values([sample], 500, seed=1).tolist() == whole.tolist()
        assert swapped_differences(sample, sample, 501, seed=1).shape == (501,)


GOOD = mean_sample("AL", [1.0, 2.0, 4.0])


@pytest.mark.parametrize(
    ("samples", "number", "message"),
    [
        ([], 100, "no samples"),
        ([GOOD], 99, "number of resamples is 99"),
        ([GOOD, mean_sample("AL", [1.0, 2.0])], 100, "1 are in one only .first: index 2"),
        ([GOOD, mean_sample("AL", [1.0, 2.0, 3.0], [0, 1, 3])], 100, "2 are in one only"),
        ([mean_sample("AL", [1.0])], 100, "at least 2"),
        ([GOOD, mean_sample("AP", [None, None, None])], 100, "AP is undefined for all 3"),
    ],
)
def test_samples_that_cannot_be_resampled(samples: list[Sample], number: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        resampled_values(samples, number, seed=0)
    if len(samples) == 2:
        with pytest.raises(DataError, match=message):
            swapped_differences(samples[0], samples[1], number, seed=0)


def test_refused_values() -> None:
    with pytest.raises(DataError, match="index 8 is not finite"):
        mean_sample("AL", [1.0, math.inf], indices=[7, 8])
    with pytest.raises(DataError, match="an index twice"):
        mean_sample("AL", [1.0, 2.0, 3.0], indices=[7, 8, 7])
    with pytest.raises(DataError, match="no utterance"):
        mean_sample("AL", [])
    for sample in (partial(sacrebleu_sample, BLEU()), partial(error_rate_sample, "WER")):
        with pytest.raises(DataError, match="2 hypotheses and 1 references"):
            sample(["a", "b"], ["a"])
        with pytest.raises(DataError, match="0 hypotheses"):
            sample([], [])


def test_other_statistics_than_the_score_rests_on_are_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = BLEU._extract_corpus_statistics
    hypotheses, references = ["the cat sat on a mat"], ["the cat sat on the mat"]
    metric = BLEU()
    score = metric.corpus_score(hypotheses, [references])
    monkeypatch.setattr(BLEU, "corpus_score", lambda *arguments: score)
    monkeypatch.setattr(
        BLEU,
        "_extract_corpus_statistics",
        lambda *arguments: [[*row[:1], 2 * row[1], *row[2:]] for row in real(*arguments)],
    )
    with pytest.raises(DataError, match=r"install sacreBLEU 2\.4 to 2\.6"):
        sacrebleu_sample(metric, hypotheses, references)
