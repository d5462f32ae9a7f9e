from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream import __version__
from echostream.errors import DataError
from echostream.scoring.readings import Reading
from echostream.scoring.scores import inferred_segment, latency_signature, stated_segment


@pytest.mark.parametrize(
    ("reading", "field"),
    [
        (Reading.IDEAL, "|ca:no"),
        (Reading.COMPUTATION_AWARE, "|ca:yes"),
        (Reading.REAL_TIME, "|ca:real-time(segments)"),
        (None, ""),
    ],
)
def test_signature(reading: Reading | None, field: str) -> None:
    signature = latency_signature(
        "LAAL",
        [("len", "max(ref,hyp)")],
        reading=reading,
        segment=stated_segment(320),
        origin="segments",
    )
    ending = f"{field}|seg:320ms|eval:echostream-{__version__}"
    assert signature == "LAAL|unit:word|len:max(ref,hyp)" + ending


@pytest.mark.parametrize(("size", "text"), [(320, "320ms"), (320.0, "320ms"), (62.5, "62.5ms")])
def test_stated_segment(size: float, text: str) -> None:
    assert stated_segment(size) == text


@pytest.mark.parametrize("size", [0, -320, math.nan, math.inf])
def test_stated_segment_refuses(size: float) -> None:
    with pytest.raises(DataError, match="segment size"):
        stated_segment(size)


def test_inferred_segment() -> None:
    early = ([640.0, 1600.0, 1700.0], 1700.0)
    assert inferred_segment([early]) == "<=320ms"  # 1700 is the end, not a whole segment
    assert inferred_segment([early, ([960.0, 1280.0], 9000.0)]) == "<=320ms"
    assert inferred_segment([([960.0, 960.0, 1000.0], 1000.0)]) == "<=960ms"


def test_inferred_segment_is_unknown_where_the_log_does_not_tell() -> None:
    for delays in ([1700.0], [], [0.0], [320.0, 333.33]):
        assert inferred_segment([(delays, 1700.0)]) == "unknown"


@settings(deadline=None)
@given(st.integers(1, 2000), st.lists(st.integers(1, 30), min_size=1, max_size=10).map(sorted))
def test_inferred_segment_is_an_upper_bound(segment: int, steps: list[int]) -> None:
    delays = [float(segment * step) for step in steps]
    text = inferred_segment([(delays, delays[-1] + 1)])
    bound = int(text.removeprefix("<=").removesuffix("ms"))
    assert bound >= segment
    assert bound % segment == 0
