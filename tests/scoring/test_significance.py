"""Closed forms, enumeration of all resamples or swaps, sacreBLEU's own tests, and simulation.

Intervals of a run's figures, and tests between runs, from logs to what is printed.
"""

import dataclasses
import itertools
import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.significance import PairedTest

from echostream.commands.score import main
from echostream.errors import DataError
from echostream.scoring.intervals import paired_tests, samples_of, with_intervals
from echostream.scoring.log import read_instances
from echostream.scoring.quality import QualityOptions
from echostream.scoring.resampling import Sample, mean_sample, sacrebleu_sample
from echostream.scoring.scores import score_instances
from echostream.scoring.significance import (
    JointDistribution,
    approximate_randomisation,
    bootstrap,
)


def bleu_sample(hypotheses: list[str], references: list[str], tokenizer: str = "13a") -> Sample:
    return sacrebleu_sample(BLEU(tokenize=tokenizer), hypotheses, references)


def corrupted(text: str, rate: float, generator: np.random.Generator) -> str:
    words = text.split()
    return " ".join("x" if generator.random() < rate else word for word in words)


def corpus(utterances: int, *rates: float) -> tuple[list[str], ...]:
    """References, and for each rate hypotheses with that share of the words wrong."""
    generator = np.random.default_rng(11)
    words = [f"w{number}" for number in range(60)]
    references = [
        " ".join(generator.choice(words, size=generator.integers(4, 16))) for _ in range(utterances)
    ]
    return references, *([corrupted(ref, rate, generator) for ref in references] for rate in rates)


# --- bootstrap


def test_variance_of_a_mean_is_that_of_the_closed_form() -> None:
    generator = np.random.default_rng(5)
    x = generator.normal(1000, 300, 50)
    y = 0.02 * x + generator.normal(0, 5, 50)
    result = bootstrap({"LAAL": mean_sample("LAAL", x), "q": mean_sample("q", y)}, 20_000)
    # Of the mean of n draws from the n values, whose variance has the divisor n.
    expected = np.cov(x, y, ddof=0) / 50
    joint = result.joint("LAAL", "q")
    assert np.array(joint.covariance) == pytest.approx(expected, rel=0.05)
    assert joint.value == pytest.approx((x.mean(), y.mean()))
    estimate, error = result.estimates["LAAL"], math.sqrt(expected[0, 0])
    # and nearly normal
    assert estimate.value == pytest.approx(x.mean())
    assert estimate.low == pytest.approx(x.mean() - 1.96 * error, rel=0.01)
    assert estimate.high == pytest.approx(x.mean() + 1.96 * error, rel=0.01)


@pytest.mark.parametrize("off_diagonal", [-2.0, 0.0, 3.0])
def test_the_outline_is_at_the_mahalanobis_distance(off_diagonal: float) -> None:
    covariance = ((9.0, off_diagonal), (off_diagonal, 1.0))
    joint = JointDistribution((100.0, 30.0), covariance)
    points = np.array(joint.outline(36)) - (100, 30)
    assert points.shape == (36, 2)
    if off_diagonal == 3.0:  # flat: all on the line y = x / 3, as far as 2.45 standard errors
        assert points[:, 1] == pytest.approx(points[:, 0] / 3, abs=1e-6)
        assert points[:, 0].max() == pytest.approx(3 * math.sqrt(5.991465), rel=1e-3)
        return
    distances = np.einsum("pi,ij,pj->p", points, np.linalg.inv(covariance), points)
    # the 95 % quantile of chi squared with 2 degrees of freedom, from a table
    assert distances == pytest.approx(np.full(36, 5.991465), rel=1e-6)


def test_the_same_utterances_for_all_samples() -> None:
    x = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0]
    samples = {
        "x": mean_sample("x", x),
        "again": mean_sample("x", x),
        "shuffled": mean_sample("x", x[::-1], indices=[5, 4, 3, 2, 1, 0]),
        "negative": mean_sample("-x", [-value for value in x]),
    }
    result = bootstrap(samples, 200)
    assert result.estimates["x"] == result.estimates["again"] == result.estimates["shuffled"]
    variance = result.covariance[0][0]
    assert result.covariance[0] == pytest.approx((variance, variance, variance, -variance))


def test_bootstrap_of_sacrebleu_is_the_same() -> None:
    references, hypotheses = corpus(80, 0.3)
    metric = BLEU()
    theirs = metric.corpus_score(hypotheses, [references], n_bootstrap=1000)
    estimate = bootstrap({"BLEU": bleu_sample(hypotheses, references)}).estimates["BLEU"]
    assert estimate.value == pytest.approx(theirs.score, abs=1e-9)
    # It takes the 26th of 1000 from either end, without interpolation.
    assert (estimate.high - estimate.low) / 2 == pytest.approx(theirs._ci, rel=0.01)


def test_resamples_without_a_value_are_left_out() -> None:
    values = [None] * 9 + [4.0]
    full = [float(number) for number in range(10)]
    samples = {"rare": mean_sample("rare", values), "full": mean_sample("full", full)}
    result = bootstrap(samples, 2000)
    rare = result.estimates["rare"]
    assert (rare.value, rare.low, rare.high) == (4, 4, 4)
    assert result.covariance[1][1] == pytest.approx(8.25 / 10, rel=0.1)
    assert result.covariance[0] == (0, 0)
    assert result.covariance[1][0] == 0


def test_the_seed_is_used_and_told_in_the_signature() -> None:
    samples = {"x": mean_sample("x", [1.0, 2.0, 4.0, 8.0, 16.0, 32.0])}
    one, other = (bootstrap(samples, 200, seed=seed) for seed in (7, 8))
    assert one.estimates != other.estimates
    assert one.signature == "bs:200|seed:7"


# --- paired tests


def enumerated_p_value(one: Sample, other: Sample) -> float:
    """Of the permutation test: the share of all 2^n swaps that give at least the difference."""
    n = len(one.indices)
    extreme = 0
    for swaps in itertools.product((False, True), repeat=n):
        chosen = np.array(swaps)[:, None]
        first = np.where(chosen, other.statistics, one.statistics).sum(axis=0)
        second = np.where(chosen, one.statistics, other.statistics).sum(axis=0)
        difference = other.score(second[None])[0] - one.score(first[None])[0]
        extreme += abs(difference) >= abs(other.value - one.value) - 1e-9
    return extreme / 2**n


def assert_near_share(found: float, exact: float, trials: int) -> None:
    """Five standard errors of a share of that many trials, and the 1 that is added to them."""
    assert abs(found - exact) <= 5 * math.sqrt(exact * (1 - exact) / trials) + 1 / trials


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=8),
    st.integers(0, 1000),
)
def test_randomisation_approximates_the_permutation_test(
    pairs: list[tuple[int, int]], seed: int
) -> None:
    a, b = ([value / 7 for value in column] for column in zip(*pairs, strict=True))
    one, other = mean_sample("AL", a), mean_sample("AL", b)
    result = approximate_randomisation(one, other, 4000, 100, seed)
    assert_near_share(result.p_value, enumerated_p_value(one, other), 4000)


@pytest.mark.parametrize("name", ["BLEU", "chrF2"])
def test_paired_tests_of_sacrebleu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SACREBLEU_SEED", raising=False)
    references, one, other = corpus(100, 0.28, 0.265)
    metric = BLEU() if name == "BLEU" else CHRF()
    samples = [sacrebleu_sample(metric, hypotheses, references) for hypotheses in (one, other)]
    systems = [("one", one), ("other", other)]

    _, scores = PairedTest(systems, {name: metric}, [references], "ar", n_samples=2000)()
    result = approximate_randomisation(*samples, num_trials=2000)
    assert result.p_value == pytest.approx(scores[name][1].p_value, abs=0.0025)
    assert result.system == pytest.approx(scores[name][1].score, abs=1e-9)
    assert result.baseline == pytest.approx(scores[name][0].score, abs=1e-9)
    assert 0.02 < result.p_value < 0.4


def test_a_p_value_is_never_0() -> None:
    one, other = (mean_sample("AL", [value] * 40) for value in (0.0, 1000.0))
    assert approximate_randomisation(one, other, num_trials=100).p_value == 1 / 101


def test_trials_without_a_value_count_against_the_difference() -> None:
    # 1, 5 and 1000 go to either system. Of the 8 ways 2 leave one without any value, 2 give the
    # difference found, 1000 - 3, and 4 give less: 502.5 - 1 or 500.5 - 5.
    one = mean_sample("AL", [1.0, None, 5.0, None])
    other = mean_sample("AL", [None, None, None, 1000.0])
    result = approximate_randomisation(one, other)
    assert result.difference.value == pytest.approx(997)
    assert_near_share(result.p_value, 4 / 8, 10_000)


def test_systems_that_cannot_be_compared() -> None:
    one = mean_sample("AL", [1.0, 5.0, 3.0])
    with pytest.raises(DataError, match="measured in AL and the system in LAAL"):
        approximate_randomisation(one, mean_sample("LAAL", [1.0, 5.0, 3.0]))
    texts = ["a b c d", "e f g h"]
    with pytest.raises(DataError, match="same metric"):
        approximate_randomisation(bleu_sample(texts, texts), bleu_sample(texts, texts, "char"))


GOLDEN = Path(__file__).parent / "golden" / "simuleval-main"


def test_every_figure_with_a_spread_gets_an_interval_around_it() -> None:
    instances = read_instances(GOLDEN / "instances.log")
    options = QualityOptions(names=("bleu", "chrf", "wer"), is_normalised=True)
    scores = score_instances(instances, 320, options)
    bounded = with_intervals(scores, instances, 200, quality=options)
    assert bounded.values == scores.values
    for before, figure in zip(scores.figures, bounded.figures, strict=True):
        if figure.value is None:
            assert figure.low is None
            continue
        assert figure.low is not None and figure.high is not None, figure.name
        assert figure.low <= figure.high
        assert figure.signature == before.signature + "|bs:200|seed:12345"
    assert {"BLEU", "chrF", "WER", "LAAL_CA", "compute_RTF"} <= bounded.values.keys()


def test_a_run_differs_from_a_slower_one_and_not_from_itself() -> None:
    instances = read_instances(GOLDEN / "instances.log")
    slower = [
        dataclasses.replace(
            ins,
            delays=tuple(d + 10 for d in ins.delays),
            elapsed=tuple(e + 10 for e in ins.elapsed),
        )
        for ins in instances
    ]
    tests = paired_tests({"one": instances, "same": instances, "slower": slower})
    assert {name: test.p_value for name, test in tests["same"].items()} == dict.fromkeys(
        tests["same"], 1.0
    )
    difference = tests["slower"]["LAAL"].difference
    assert (difference.low, difference.value, difference.high) == pytest.approx((10, 10, 10))
    assert tests["slower"]["BLEU"].difference.value == 0
    smallest = 2 * 0.5 ** len([ins for ins in instances if ins.delays])
    assert tests["slower"]["LAAL"].p_value == pytest.approx(smallest, rel=0.5)


def test_samples_leave_out_what_has_no_value() -> None:
    silent = [
        dataclasses.replace(ins, prediction="", delays=(), elapsed=())
        for ins in read_instances(GOLDEN / "instances.log")
    ]
    assert list(samples_of(silent, ["BLEU", "LAAL", "WER"])) == ["BLEU", "WER"]


def test_command_line_prints_intervals_and_tests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [str(tmp_path / name) for name in ("one", "two")]
    for folder in folders:
        shutil.copytree(GOLDEN, folder)
    assert main([*folders, "--intervals", "150"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"LAAL +[\d.]+ ms +\[[\d.]+, [\d.]+\] LAAL\|.*\|bs:150\|seed:12345", printed)
    assert re.search(r"\| .*two \| BLEU \| [\d.]+ \| [\d.]+ \| \+0\.000 .* \| 1\.0000 \|", printed)
    kept = json.loads((tmp_path / "one" / "scores.json").read_text())
    low, high = kept["intervals"]["LAAL"]
    assert low <= kept["scores"]["LAAL"] <= high


def test_runs_of_other_utterances_are_not_tested(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    lines = (GOLDEN / "instances.log").read_text().splitlines(keepends=True)
    (folders[0] / "instances.log").write_text("".join(lines))
    (folders[1] / "instances.log").write_text("".join(lines[:-1]))
    assert main([*map(str, folders), "--intervals"]) == 1
    assert "no tests between runs" in capsys.readouterr().err
