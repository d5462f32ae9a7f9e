"""Values worked out by hand, and relations that hold for every utterance."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.errors import DataError
from echostream.scoring.instance import Instance
from echostream.scoring.latency import (
    LATENCY_METRICS,
    LatencyMetric,
    average_lagging,
    average_proportion,
    average_token_delay,
    differentiable_average_lagging,
    length_adaptive_average_lagging,
    mean_latency,
)

from .logs import utterance, utterances

every_metric = pytest.mark.parametrize("metric", LATENCY_METRICS, ids=lambda metric: metric.name)


def test_lagging_of_an_even_emitter_is_one_step() -> None:
    # 250 - 0, 500 - 250, 750 - 500, 1000 - 750
    assert average_lagging([250, 500, 750, 1000], 1000, 4) == 250
    assert length_adaptive_average_lagging([250, 500, 750, 1000], 1000, 4) == 250


def test_lagging_stops_at_the_first_word_at_the_end() -> None:
    # 500 - 0 and 1000 - 250; the last two words are not counted
    assert average_lagging([500, 1000, 1000, 1000], 1000, 4) == 625


def test_lagging_counts_all_words_if_none_is_at_the_end() -> None:
    # 200 - 0, 400 - 250, 600 - 500
    assert average_lagging([200, 400, 600], 1000, 4) == 150


def test_lagging_goes_on_after_times_just_below_the_end() -> None:
    # 999 - 0, 999 - 500, 1000 - 1000
    assert average_lagging([999, 999, 1000], 1000, 2) == pytest.approx((999 + 499 + 0) / 3)


def test_lagging_of_a_first_word_beyond_the_end_is_its_time() -> None:
    assert average_lagging([1200, 5000], 1000, 4) == 1200
    assert length_adaptive_average_lagging([1200, 5000], 1000, 4) == 1200


def test_lagging_where_computing_passes_the_end() -> None:
    # 900 - 0, 1400 - 250; 1500 does not count, though each is another time
    assert average_lagging([900, 1400, 1500], 1000, 4) == 1025


def test_over_generation_lowers_al_and_not_laal() -> None:
    delays = [250, 500, 750, 1000]
    # reference of 2: 250 - 0, 500 - 500, 750 - 1000, 1000 - 1500
    assert average_lagging(delays, 1000, 2) == -125
    assert length_adaptive_average_lagging(delays, 1000, 2) == 250


def test_under_generation_is_measured_against_the_reference() -> None:
    # reference of 4: 500 - 0, 1000 - 250
    assert length_adaptive_average_lagging([500, 1000], 1000, 4) == 625


def test_proportion() -> None:
    assert average_proportion([500, 500, 1000, 1000], 1000, 4) == 0.75
    assert average_proportion([500, 500, 1000, 1000], 1000, 2) == 1.5
    assert average_proportion([500, 500], 1000, 4) == 0.25


def test_dal_spreads_words_written_together() -> None:
    # step 250: 500, 750, 1000, 1250 less 0, 250, 500, 750
    assert differentiable_average_lagging([500, 500, 1000, 1000], 1000) == 500
    # step 250: 250, 500, 1000, 1250 less 0, 250, 500, 750
    assert differentiable_average_lagging([250, 250, 1000, 1000], 1000) == 375
    # step 500: the lost time is not made good: 1000, 1500 less 0, 500
    assert differentiable_average_lagging([1000, 1000], 1000) == 1000


def test_atd_cuts_each_chunk_into_tokens() -> None:
    # Tokens end at 300, 600, 640 | 940, 1240, 1280. Word 1: 640 - 300, 2: 640 - 600,
    # 3: 1280 - 640 (the third token), 4: 1280 - 940.
    assert average_token_delay([640, 640, 1280, 1280]) == (340 + 40 + 640 + 340) / 4


def test_atd_of_more_words_than_tokens_read() -> None:
    # Tokens end at 300 | 600, 900. Words 1 to 3 stand for token 1, the only one read: 0, 0, 0.
    # Before chunk 2 there are two words too many, so word 4 stands for token 2: 900 - 600.
    assert average_token_delay([300, 300, 300, 900]) == 75


def test_atd_of_words_before_any_audio() -> None:
    # Word 1 stands for nothing read, end 0. Before chunk 2: one word, no token; word 2 -> token 1.
    assert average_token_delay([0, 300]) == 0


def test_atd_computation_aware_absorbs_computing_while_waiting() -> None:
    # Computing 100, 0, 100. Word ends 640 + 100, then 740 (pushed back), then 1280 + 100, not 1480.
    # Tokens 300, 600, 640: 740 - 300, 740 - 600, 1380 - 640.
    assert average_token_delay([640, 640, 1280], [740, 740, 1480]) == 440


def test_atd_computation_aware_pushes_back_what_follows() -> None:
    # Computing 1000, 0: word 1 ends 1300, word 2 is pushed back to 1300. Tokens 300 | 600.
    assert average_token_delay([300, 600], [1300, 1600]) == (1000 + 700) / 2


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
def test_laal_is_never_below_al(ins: Instance) -> None:
    al = average_lagging(ins.delays, ins.source_length, ins.reference_length)
    laal = length_adaptive_average_lagging(ins.delays, ins.source_length, ins.reference_length)
    if len(ins.delays) <= ins.reference_length:
        assert laal == al
    else:
        assert laal >= al


milliseconds = st.integers(0, 200).map(lambda step: 10.0 * step)


@settings(deadline=None)
@given(
    st.lists(milliseconds, min_size=1, max_size=12).map(sorted),
    st.sampled_from([80, 160, 320, 1000]),
    st.integers(1, 12),
)
def test_a_shift_of_all_words_shifts_lagging(delays: list[float], shift: int, words: int) -> None:
    source_length = 4096.0  # more than any shifted delay, so that none is at the end
    later = [delay + shift for delay in delays]
    for metric in (average_lagging, length_adaptive_average_lagging):
        before, after = (metric(times, source_length, words) for times in (delays, later))
        assert after - before == pytest.approx(shift, abs=1e-9)
    before, after = (differentiable_average_lagging(t, source_length) for t in (delays, later))
    assert after - before == pytest.approx(shift, abs=1e-9)
    before, after = (average_proportion(t, source_length, words) for t in (delays, later))
    assert after - before == pytest.approx(shift * len(delays) / (source_length * words))


@settings(deadline=None)
@given(utterances(), st.sampled_from([0.25, 2.0, 8.0]))
def test_lagging_scales_with_time_and_proportion_does_not(ins: Instance, scale: float) -> None:
    times, length = [scale * delay for delay in ins.delays], scale * ins.source_length
    for metric in (average_lagging, length_adaptive_average_lagging):
        expected = scale * metric(ins.delays, ins.source_length, ins.reference_length)
        assert metric(times, length, ins.reference_length) == expected
    dal = differentiable_average_lagging(ins.delays, ins.source_length)
    assert differentiable_average_lagging(times, length) == scale * dal
    ap = average_proportion(ins.delays, ins.source_length, ins.reference_length)
    assert average_proportion(times, length, ins.reference_length) == ap


@settings(deadline=None)
@given(utterances())
def test_dal_is_at_least_the_plain_lag_and_the_first_delay(ins: Instance) -> None:
    step = ins.source_length / len(ins.delays)
    plain = sum(delay - i * step for i, delay in enumerate(ins.delays)) / len(ins.delays)
    dal = differentiable_average_lagging(ins.delays, ins.source_length)
    assert dal >= plain - 1e-6
    assert dal >= ins.delays[0] - 1e-6


@settings(deadline=None)
@given(utterances())
def test_atd_lies_between_nothing_and_the_last_delay(ins: Instance) -> None:
    assert -1e-6 <= average_token_delay(ins.delays) <= ins.delays[-1] + 1e-6


@settings(deadline=None)
@given(utterances())
def test_an_offline_system_lags_by_the_whole_source(ins: Instance) -> None:
    times = [ins.source_length] * len(ins.delays)
    assert average_lagging(times, ins.source_length, ins.reference_length) == ins.source_length
    laal = length_adaptive_average_lagging(times, ins.source_length, ins.reference_length)
    assert laal == ins.source_length


@settings(deadline=None)
@given(utterances())
def test_computing_time_never_lowers_the_figure(ins: Instance) -> None:
    for metric in LATENCY_METRICS:
        # AL and LAAL can fall: words that computing moves beyond the end are cut off.
        if metric.name not in ("AL", "LAAL") or ins.elapsed[-1] < ins.source_length:
            assert metric.score(ins, True) >= metric.score(ins, False) - 1e-6, metric.name


@settings(deadline=None)
@given(utterances())
def test_aware_equals_ideal_if_computing_takes_no_time(ins: Instance) -> None:
    instant = utterance(ins.delays, ins.source_length, ins.reference_length)
    for metric in LATENCY_METRICS:
        assert metric.score(instant, True) == metric.score(ins, False), metric.name


@every_metric
def test_corpus_figure_is_the_mean_of_the_scored_utterances(metric: LatencyMetric) -> None:
    long = utterance([320, 640, 960, 1280, 1600], 2000, 4, [420, 840, 1260, 1680, 2100])
    short = utterance([320], 500, 2, [350])
    silent = utterance([], 700, 3)
    no_source = utterance([0], 0, 3)
    no_elapsed = utterance([500], 500, 1, [])
    corpus = [long, silent, short, no_source, no_elapsed]

    ideal = mean_latency(corpus, metric, computation_aware=False)
    expected = sum(metric.score(ins, False) for ins in (long, short, no_elapsed)) / 3
    assert ideal.value == pytest.approx(expected)
    assert (ideal.scored, ideal.skipped) == (3, 2)

    aware = mean_latency(corpus, metric, computation_aware=True)
    expected = sum(metric.score(ins, True) for ins in (long, short)) / 2
    assert aware.value == pytest.approx(expected)
    assert (aware.scored, aware.skipped) == (2, 3)


@every_metric
def test_corpus_without_words_has_no_figure(metric: LatencyMetric) -> None:
    mean = mean_latency([utterance([], 700, 3)], metric, computation_aware=False)
    assert (mean.value, mean.scored, mean.skipped) == (None, 0, 1)


def test_metrics_are_in_the_order_of_simuleval() -> None:
    assert [metric.name for metric in LATENCY_METRICS] == ["LAAL", "AL", "AP", "DAL", "ATD"]
