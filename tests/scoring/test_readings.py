"""Real time from elapsed times and from segments, and the segment log."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.errors import DataError
from echostream.scoring.log import read_log
from echostream.scoring.readings import (
    Reading,
    compute_of_words,
    compute_origin,
    real_time_of_elapsed,
    real_time_of_segments,
    times,
    total_compute,
)
from echostream.scoring.segments import Segment, fits, read_segments

from .logs import record, utterance, write_log


@pytest.mark.parametrize(
    ("delays", "elapsed", "real_time"),
    [
        # 100 ms of computing after each write, 320 ms of audio between them: nothing adds up.
        ([320, 640, 960], [420, 840, 1260], (420, 740, 1060)),
        # 500 ms of computing per 320 ms of audio: 320 + 500, then 820 + 500, then 1320 + 10.
        ([320, 640, 960], [820, 1640, 1970], (820, 1320, 1330)),
        # Words of one write are there together.
        ([320, 320, 640], [420, 420, 840], (420, 420, 740)),
    ],
)
def test_computing_is_hidden_in_waiting_until_it_falls_behind(
    delays: list[float], elapsed: list[float], real_time: tuple[float, ...]
) -> None:
    assert real_time_of_elapsed(delays, elapsed) == real_time


def test_segments_are_exact_where_elapsed_times_are_an_upper_bound() -> None:
    # Three segments, the word comes with the third. Its elapsed time holds all three costs.
    segments = (Segment(320, 100, 0), Segment(640, 100, 0), Segment(960, 100, 1))
    assert real_time_of_segments(segments) == (1060,)
    assert real_time_of_elapsed([960], [1260]) == (1260,)


def test_other_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="1 elapsed times for 2 delays"):
        compute_of_words([320, 640], [330])


@st.composite
def runs(draw: st.DrawFn) -> tuple[Segment, ...]:
    """Segments of 320 ms, the last one twice (SimulEval's last call), with costs and words."""
    number = draw(st.integers(1, 12))
    audio = [320.0 * (position + 1) for position in range(number)]
    return tuple(
        Segment(end, draw(st.floats(0, 900)), draw(st.integers(0, 2)))
        for end in [*audio, audio[-1]]
    )


@settings(deadline=None, max_examples=150)
@given(runs())
def test_the_bound_from_elapsed_times(segments: tuple[Segment, ...]) -> None:
    spent, delays, elapsed = 0.0, [], []
    for segment in segments:
        spent += segment.compute_ms
        delays += [segment.audio_ms] * segment.words
        elapsed += [segment.audio_ms + spent] * segment.words
    exact = real_time_of_segments(segments)
    bound = real_time_of_elapsed(delays, elapsed)
    assert len(exact) == len(bound) == len(delays)
    for delay, real, most, simuleval in zip(delays, exact, bound, elapsed, strict=True):
        assert delay - 1e-6 <= real <= most + 1e-6
        assert most <= simuleval + 1e-6
    assert fits(segments, delays)
    if all(segment.words for segment in segments):
        assert bound == pytest.approx(exact, abs=1e-6)
    ins = replace(utterance(delays, segments[-1].audio_ms, 3, elapsed), segments=segments)
    assert times(ins, Reading.REAL_TIME) == exact
    assert total_compute(ins) == pytest.approx(spent)
    known = total_compute(replace(ins, segments=()))
    assert known is None if not delays else known <= spent + 1e-6  # type: ignore[operator]


def test_segments_must_fit_the_words() -> None:
    segments = (Segment(320, 1, 1), Segment(640, 1, 0), Segment(960, 1, 2))
    assert fits(segments, [320, 960, 960.9])
    assert not fits(segments, [320, 960])
    assert not fits(segments, [320, 960, 960, 960])
    assert not fits(segments, [320, 640, 960])
    assert not fits([Segment(320, 1, 10**18)], [320])  # nor is it tried
    assert fits((), [])


def test_origin() -> None:
    plain = utterance([320], 1000, 1)
    exact = replace(plain, segments=(Segment(320, 1, 1),))
    neither = replace(plain, elapsed=())
    assert compute_origin([plain, neither]) == "elapsed"
    assert compute_origin([exact, neither]) == "segments"
    assert compute_origin([exact, plain]) == "mixed"
    assert compute_origin([neither]) == "none"


def row(audio_ms: float, costs_ms: dict[str, object], words: int = 1) -> dict[str, object]:
    return {"audio_ms": audio_ms, "costs_ms": costs_ms, "words": words}


# Stages have whatever names the system gives them.
ROWS = [
    row(320, {"front_end": 1, "encoder": 2, "policy": 7}),
    row(640.4, {"front_end": 1}),
    row(1000.0, {"heads": 0.25, "vocoder": 0.25}, words=0),
    row(1000, {"x": 1, "y": 3.0}),
]


def test_segment_log_is_used_where_it_fits(tmp_path: Path) -> None:
    write_log(tmp_path / "instances.log", [record(), record(index=1), record(index=2)])
    other = [row(320, {}, words=3)]
    lines = [
        {"index": 0, "segments": ROWS},
        {"index": 1, "segments": other},  # other numbers of words
        {"index": 2, "segments": ROWS[:2]},
        {"index": 2, "segments": ROWS},  # the last one counts
    ]
    write_log(tmp_path / "segments.log", lines)
    log = read_log(tmp_path)
    first, second, third = log.instances
    assert (
        first.segments
        == third.segments
        == (
            Segment(320, 10, 1),
            Segment(640.4, 1, 1),
            Segment(1000, 0.5, 0),
            Segment(1000, 4, 1),
        )
    )
    assert second.segments == ()
    assert times(first, Reading.REAL_TIME) == (330, 641.4, 1004.5)
    assert total_compute(first) == 15.5
    (found,) = [problem for problem in log.problems if problem.is_error]
    assert (found.kind, found.indices) == ("segment-log-mismatch", (1,))


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"index": 0}',
        '{"index": -1, "segments": []}',
        '{"index": "0", "segments": []}',
        '{"index": 0, "segments": 3}',
        '{"index": 0, "segments": [{"audio_ms": 320, "words": 1}]}',
        '{"index": 0, "segments": [{"audio_ms": 320, "costs_ms": [1, 2], "words": 1}]}',
        *(
            json.dumps({"index": 0, "segments": rows})
            for rows in (
                [row(320, {"encoder": "1"})],
                [row(320, {"encoder": -1})],
                [row(320, {"encoder": math.nan})],
                [row(320, {}, words=-1)],
                [row(320, {}, words=1.5)],  # type: ignore[arg-type]
                [row(640, {}), row(320, {})],
                [[320, 1, 2, 3, 4, 5, 1]],
            )
        ),
        '{"index": 0, "segments": [[]]}',
        '{"index": 0, "segments": [7]}',
    ],
)
def test_damaged_segment_log(tmp_path: Path, line: str) -> None:
    good = json.dumps({"index": 1, "segments": ROWS})
    (tmp_path / "segments.log").write_text(line + "\n" + good + "\n", encoding="utf-8")
    found, unusable = read_segments(tmp_path / "segments.log")
    assert (list(found), unusable) == ([1], [1])
