"""Compute against length."""

from __future__ import annotations

import pytest

from eval.compare.lengths import length_runs, median_pass, one_pass
from eval.compare.schema import SegmentCost
from tests.small_system import audio


def passes(*factors: float) -> list[list[SegmentCost]]:
    """Segment n of 320 ms costs n ms in the encoder, times the pass's factor."""
    return [
        [SegmentCost(320 * n, {"encoder": factor * n, "heads": 0.5}, 100 * n) for n in range(1, 33)]
        for factor in factors
    ]


def test_median_is_taken_segment_by_segment() -> None:
    middle = median_pass(passes(1.0, 50.0, 2.0))
    assert [segment.costs["encoder"] for segment in middle[:3]] == [2.0, 4.0, 6.0]


def test_a_shorter_recording_is_a_prefix() -> None:
    runs = length_runs("system", 320, (1, 5, 10, 20), passes(1.0))
    assert [run.seconds for run in runs] == [1, 5, 10], "20 s were not heard"
    assert [len(run.segments) for run in runs] == [3, 15, 31]
    assert runs[1].compute_ms == sum(range(1, 16)) + 15 * 0.5
    assert runs[1].compute_rtf == pytest.approx((120 + 7.5) / 4800)
    assert runs[1].state_bytes == 1500


def test_one_pass_measures_every_segment(translate) -> None:  # type: ignore[no-untyped-def]
    samples = audio(2.1)
    costs = one_pass(translate(), samples, 320, reference=None)
    assert [segment.audio_ms for segment in costs] == [320, 640, 960, 1280, 1600, 1920]
    assert all(segment.costs["encoder"] > 0 for segment in costs)
    assert len({segment.state_bytes for segment in costs}) == 1, "the state does not grow"
