"""Percentiles against numpy, and ratios that a drifting machine does not change."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.bench.times import Times, Turn, percentile, ratio_within_rounds


@settings(deadline=None)
@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=40),
    st.floats(0, 100),
)
def test_percentiles_are_numpys(values: list[float], percent: float) -> None:
    assert percentile(values, percent) == pytest.approx(np.percentile(values, percent), abs=1e-6)


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1.0], -1), ([1.0], 101)])
def test_what_has_no_percentile_is_refused(values: list[float], percent: float) -> None:
    with pytest.raises(ValueError, match="expected 0 to 100"):
        percentile(values, percent)


def test_medians_are_over_all_calls_and_leave_the_untimed_ones_out() -> None:
    times = Times(
        {
            0: Turn(wall_ms=(1.0, 2.0, 9.0), cpu_ms=(1.0, 1.0, 1.0), untimed_ms=50.0),
            1: Turn(wall_ms=(3.0, 4.0), cpu_ms=(7.0, 8.0), untimed_ms=70.0),
        }
    )
    assert times.p50 == 3.0
    assert times.p95 == pytest.approx(8.0)  # 3.8 places into 1 2 3 4 9
    assert times.cpu_p50 == 1.0
    assert times.untimed_p50 == 60.0
    assert times.by_round(max) == {0: 9.0, 1: 4.0}
    assert Times({0: Turn((1.0,), (1.0,))}).untimed_p50 is None


def test_a_ratio_within_rounds_is_right_while_the_machine_drifts() -> None:
    speed = [1.0, 1.0, 5.0, 5.0, 20.0]
    fast = {number: 10.0 * slow for number, slow in enumerate(speed)}
    # The slow one has no turns in the last rounds, so plain medians would compare 20 with 50.
    slow = {number: 20.0 * speed[number] for number in (0, 1)}
    assert ratio_within_rounds(slow, fast) == 2.0
    assert ratio_within_rounds(fast, slow) == 0.5
    assert ratio_within_rounds({0: 1.0}, {1: 1.0}) is None
