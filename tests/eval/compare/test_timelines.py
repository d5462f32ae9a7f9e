"""What a delay is made of: worked out by hand, and by another way of counting."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.errors import DataError
from echostream.session.segment_log import SegmentRecord
from eval.compare.schema import Delay
from eval.compare.timelines import (
    elapsed_delays,
    outline,
    real_time_delays,
    timeline_words,
)


def costs(*values: float) -> dict[str, float]:
    return dict(zip(("front_end", "encoder", "heads", "decoder", "policy"), values, strict=True))


EXAMPLE = [
    SegmentRecord(300.0, costs(1.0, 100.0, 0.5, 1.5, 0.5), 0),  # done at 403.5
    SegmentRecord(600.0, costs(1.0, 400.0, 0.5, 1.5, 0.5), 1),  # done at 1003.5, late
    SegmentRecord(900.0, costs(1.0, 100.0, 0.5, 1.5, 0.5), 1),  # begun at 1003.5
    SegmentRecord(1200.0, costs(1.0, 10.0, 0.5, 1.5, 0.5), 2),  # waited for
]


def test_by_hand() -> None:
    elapsed = elapsed_delays(EXAMPLE)
    assert [part.total_ms for part in elapsed] == [403.5, 1107.0, 1510.5, 1824.0]
    assert [part.waiting_ms for part in elapsed] == [300.0, 600.0, 900.0, 1200.0]
    assert elapsed[-1].costs == costs(4.0, 610.0, 2.0, 6.0, 2.0)
    real = real_time_delays(EXAMPLE)
    assert [part.total_ms for part in real] == [403.5, 1003.5, 1107.0, 1213.5]
    assert [part.waiting_ms for part in real] == [300.0, 600.0, 600.0, 1200.0]
    assert real[2].costs == costs(2.0, 500.0, 1.0, 3.0, 1.0)


milliseconds = st.floats(0, 2000, allow_nan=False)
records = st.lists(
    st.builds(
        SegmentRecord,
        st.just(0.0),
        st.builds(costs, *[milliseconds] * 5),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=12,
).map(
    lambda items: [
        SegmentRecord(320.0 * number, item.costs, item.num_words)
        for number, item in enumerate(items, 1)
    ]
)


@settings(deadline=None)
@given(records)
def test_parts_add_up_and_real_time_is_the_recursion(segments: list[SegmentRecord]) -> None:
    there = 0.0
    readings = zip(segments, elapsed_delays(segments), real_time_delays(segments), strict=True)
    for segment, elapsed, real in readings:
        there = max(there, segment.audio_ms) + sum(segment.costs.values())
        assert real.total_ms == pytest.approx(there)
        assert segment.audio_ms <= real.total_ms + 1e-6
        assert real.total_ms <= elapsed.total_ms + 1e-6
        assert real.waiting_ms <= segment.audio_ms


def test_words_belong_to_their_segments() -> None:
    words = timeline_words(["a", "b", "c", "d"], EXAMPLE)
    assert [(word.text, word.segment, word.delay_ms) for word in words] == [
        ("a", 1, 600.0),
        ("b", 2, 900.0),
        ("c", 3, 1200.0),
        ("d", 3, 1200.0),
    ]
    assert words[0].real_time == Delay(600.0, costs(1.0, 400.0, 0.5, 1.5, 0.5))
    with pytest.raises(DataError, match="counts 4 words and the prediction has 3"):
        timeline_words(["a", "b", "c"], EXAMPLE)


def test_outline_has_the_extremes_of_each_stretch() -> None:
    samples = np.concatenate((np.zeros(50), [0.5, -0.25], np.zeros(48))).astype(np.float32)
    assert outline(samples, 4) == ((0.0, 0.0), (0.0, 0.0), (-0.25, 0.5), (0.0, 0.0))
    assert len(outline(samples[:3], 10)) == 10
    assert outline(samples[:0], 2) == ((0.0, 0.0), (0.0, 0.0))
