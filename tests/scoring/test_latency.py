"""Values worked out by hand, and relations that hold for every utterance."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings

from echostream.errors import DataError
from echostream.scoring.formulas import (
    average_lagging,
    average_proportion,
    average_token_delay,
    differentiable_average_lagging,
    length_adaptive_average_lagging,
    yet_another_average_lagging,
)
from echostream.scoring.instance import Instance
from echostream.scoring.latency import (
    ALL_METRICS,
    LATENCY_METRICS,
    LatencyMetric,
    instance_latency,
    mean_latency,
    per_instance,
)
from echostream.scoring.readings import Reading
from echostream.scoring.segments import Segment

from .logs import utterance, utterances

every_metric = pytest.mark.parametrize("metric", ALL_METRICS, ids=lambda metric: metric.name)
METRICS = {metric.name: metric for metric in ALL_METRICS}
EVEN = [250, 500, 750, 1000]
IDEAL, AWARE, REAL_TIME = Reading.IDEAL, Reading.COMPUTATION_AWARE, Reading.REAL_TIME


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        # an even emitter lags by one step: 250 - 0, 500 - 250, 750 - 500, 1000 - 750
        (average_lagging(EVEN, 1000, 4), 250),
        (length_adaptive_average_lagging(EVEN, 1000, 4), 250),
        # it stops at the first word at the end: 500 - 0 and 1000 - 250
        (average_lagging([500, 1000, 1000, 1000], 1000, 4), 625),
        # all words count if none is at the end: 200 - 0, 400 - 250, 600 - 500
        (average_lagging([200, 400, 600], 1000, 4), 150),
        # just below the end is not at the end: 999 - 0, 999 - 500, 1000 - 1000
        (average_lagging([999, 999, 1000], 1000, 2), (999 + 499 + 0) / 3),
        # a first word beyond the end
        (average_lagging([1200, 5000], 1000, 4), 1200),
        (length_adaptive_average_lagging([1200, 5000], 1000, 4), 1200),
        # computing passes the end: 900 - 0, 1400 - 250; 1500 does not count
        (average_lagging([900, 1400, 1500], 1000, 4), 1025),
        # over-generation lowers AL and not LAAL: 250 - 0, 500 - 500, 750 - 1000, 1000 - 1500
        (average_lagging(EVEN, 1000, 2), -125),
        (length_adaptive_average_lagging(EVEN, 1000, 2), 250),
        # under-generation is measured against the reference: 500 - 0, 1000 - 250
        (length_adaptive_average_lagging([500, 1000], 1000, 4), 625),
        (average_proportion([500, 500, 1000, 1000], 1000, 4), 0.75),
        (average_proportion([500, 500, 1000, 1000], 1000, 2), 1.5),
        (average_proportion([500, 500], 1000, 4), 0.25),
        # step 250: 500, 750, 1000, 1250 less 0, 250, 500, 750
        (differentiable_average_lagging([500, 500, 1000, 1000], 1000), 500),
        # step 250: 250, 500, 1000, 1250 less 0, 250, 500, 750
        (differentiable_average_lagging([250, 250, 1000, 1000], 1000), 375),
        # step 500: the lost time is not made good: 1000, 1500 less 0, 500
        (differentiable_average_lagging([1000, 1000], 1000), 1000),
        # Tokens end at 300, 600, 640 | 940, 1240, 1280. Word 1: 640 - 300, 2: 640 - 600,
        # 3: 1280 - 640 (the third token), 4: 1280 - 940.
        (average_token_delay([640, 640, 1280, 1280]), (340 + 40 + 640 + 340) / 4),
        # Tokens end at 300 | 600, 900. Words 1 to 3 stand for token 1, the only one read: 0, 0, 0.
        # Before chunk 2 there are two words too many, so word 4 stands for token 2: 900 - 600.
        (average_token_delay([300, 300, 300, 900]), 75),
        # Word 1 stands for nothing read, end 0. Before chunk 2: one word, no token; word 2 -> 1.
        (average_token_delay([0, 300]), 0),
        # Computing 100, 0, 100. Word ends 640 + 100, then 740 (pushed back), then 1280 + 100, not
        # 1480. Tokens 300, 600, 640: 740 - 300, 740 - 600, 1380 - 640.
        (average_token_delay([640, 640, 1280], [740, 740, 1480]), 440),
        # Computing 1000, 0: word 1 ends 1300, word 2 is pushed back to 1300. Tokens 300 | 600.
        (average_token_delay([300, 600], [1300, 1600]), (1000 + 700) / 2),
        # YAAL leaves out words at the end: 300 - 0, 600 - 250; 1000 is the end
        (yet_another_average_lagging([300, 600, 1000, 1000], 1000, 4), 325),
        # a longer reference: the step is 1000 / 8
        (yet_another_average_lagging([300, 600, 1000, 1000], 1000, 8), (300 + 475) / 2),
        # a longer hypothesis: the step is 1000 / 4 again
        (yet_another_average_lagging([300, 600, 1000, 1000], 1000, 2), 325),
        (yet_another_average_lagging([999.5], 1000, 1), 999.5),
        (yet_another_average_lagging([1000, 1000], 1000, 4), None),
    ],
)
def test_by_hand(found: float | None, expected: float | None) -> None:
    assert found == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    "call",
    [
        lambda: average_lagging([], 1000, 1),
        lambda: length_adaptive_average_lagging([1.0], 0, 1),
        lambda: average_proportion([1.0], 1000, 0),
        lambda: differentiable_average_lagging([1.0], float("nan")),
        lambda: average_token_delay([]),
        lambda: average_token_delay([1.0, 2.0], [1.0]),
    ],
)
def test_values_outside_the_domain_are_named_errors(call: Callable[[], float]) -> None:
    with pytest.raises(DataError, match="expected"):
        call()


@settings(deadline=None)
@given(utterances())
def test_aware_equals_ideal_if_computing_takes_no_time(ins: Instance) -> None:
    instant = utterance(ins.delays, ins.source_length, ins.reference_length)
    for metric in LATENCY_METRICS:
        expected = instance_latency(ins, metric, IDEAL)
        assert instance_latency(instant, metric, AWARE) == expected, metric.name
        assert instance_latency(instant, metric, REAL_TIME) == expected, metric.name


@every_metric
def test_corpus_figure_is_the_mean_of_the_scored_utterances(metric: LatencyMetric) -> None:
    long = utterance([320, 640, 960, 1280, 1600], 2000, 4, [420, 840, 1260, 1680, 2100])
    short = utterance([320], 500, 2, [350])
    silent = utterance([], 700, 3)
    no_source = utterance([0], 0, 3)
    no_elapsed = utterance([400], 500, 1, [])
    corpus = [long, silent, short, no_source, no_elapsed]
    for reading in metric.readings:
        scored = [long, short]
        if reading is IDEAL and metric.name != "compute_RTF":
            scored.append(no_elapsed)
        values = [instance_latency(ins, metric, reading) for ins in scored]
        weights = [ins.source_length if metric.name == "compute_RTF" else 1 for ins in scored]
        assert None not in values
        total = sum(w * v for w, v in zip(weights, values, strict=True))  # type: ignore[operator]
        mean, number = mean_latency(corpus, metric, reading)
        assert mean == pytest.approx(total / sum(weights), rel=1e-12)
        assert number == len(scored)
        every = per_instance(corpus, metric, reading)
        assert [value for value in every if value is not None] == values
        assert every[1] is every[3] is None


# Source 1000 ms, words at 320, 640 (two), 1000 ms; 10, 20, 0, 30 ms of computing each. Elapsed are
# 330, 670, 670, 1060. In real time 330, 660, 660, 1030.
WRITTEN = utterance([320, 640, 640, 1000], 1000, 4, [330, 670, 670, 1060])


@pytest.mark.parametrize(
    ("name", "ideal", "aware", "real_time"),
    [
        ("StartOffset", 320, 330, 330),
        ("EndOffset", 0, 60, 30),
        ("EndRatio", 1, 1.06, 1.03),
        # less 0, 250, 500, 750
        (
            "AL",
            (320 + 390 + 140 + 250) / 4,
            (330 + 420 + 170 + 310) / 4,
            (330 + 410 + 160 + 280) / 4,
        ),
        ("AP", 2600 / 4000, 2730 / 4000, 2680 / 4000),
        # the last word does not count
        ("YAAL", 850 / 3, 920 / 3, 900 / 3),
        # tokens 300, 320 | 620, 640 | 940, 1000; words stand for tokens 1, 3 - 0, 4 - 0, 4 + 1 - 0:
        # word 1: token 1 = 300. Before write 2 one word and two tokens: word 2: token 2 = 320,
        # word 3: token 3 = 620. Before write 3 three words and four tokens: word 4: token 4 = 640.
        ("ATD", (20 + 320 + 20 + 360) / 4, (30 + 340 + 40 + 390) / 4, (30 + 340 + 40 + 390) / 4),
        # step 250: 320, 640, 890, 1140 less 0, 250, 500, 750; 330, 670, 920, 1170; 330, 660, 910,
        # 1160
        ("DAL", (320 + 390 * 3) / 4, (330 + 420 * 3) / 4, (330 + 410 * 3) / 4),
    ],
)
def test_three_readings(name: str, ideal: float, aware: float, real_time: float) -> None:
    metric = METRICS[name]
    found = [instance_latency(WRITTEN, metric, reading) for reading in (IDEAL, AWARE, REAL_TIME)]
    assert found == pytest.approx([ideal, aware, real_time])


def test_counts_and_compute() -> None:
    def value(name: str, ins: Instance) -> float | None:
        return instance_latency(ins, METRICS[name])

    assert value("NumChunks", WRITTEN) == 4
    assert value("NumWrites", WRITTEN) == 3
    assert value("compute_RTF", WRITTEN) == 0.06
    # two writes at the end, which the delays alone do not tell apart
    twice = utterance([320, 1000, 1000], 1000, 4, [330, 1020, 1025])
    assert value("NumWrites", twice) == 3
    assert value("NumWrites", replace(twice, elapsed=())) == 2
    assert value("compute_RTF", replace(twice, elapsed=())) is None
    # with segments: also what was computed after the last word, and without any word
    costs = (Segment(320, 10, 1), Segment(640, 400, 0), Segment(1000, 40, 2))
    assert value("compute_RTF", replace(twice, segments=costs)) == 0.45
    assert value("NumWrites", replace(twice, segments=costs)) == 2
    silent = replace(twice, delays=(), elapsed=(), prediction="", segments=(Segment(1000, 90, 0),))
    assert value("compute_RTF", silent) == 0.09
    assert value("NumWrites", silent) is None
