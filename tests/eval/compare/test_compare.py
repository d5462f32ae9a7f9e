"""From runs to results.json and the report; what a delay is made of, counted in two ways."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.config import SystemConfig, save_config
from echostream.errors import DataError
from echostream.session import build
from echostream.session.segment_log import LOG_NAME, SegmentRecord
from eval.command import heading, write_results
from eval.compare.grid import read_run, run_grid, spread
from eval.compare.page import write_report
from eval.compare.plan import ComparisonPlan, SystemEntry
from eval.compare.points import is_degenerate, paired_of, pairs_of, point_of, system_of
from eval.compare.schema import Data, Delay, Results
from eval.compare.timelines import (
    elapsed_delays,
    outline,
    real_time_delays,
    shown_recordings,
    timeline_words,
    utterance_of,
)
from eval.sweep import Work
from tests.eval.corpora import listed
from tests.small_system import CONFORMER


@pytest.fixture(scope="module")
def grid(  # type: ignore[no-untyped-def]
    checkpoint,
    tmp_path_factory: pytest.TempPathFactory,
):
    """A whole small comparison: plan, sources, runs."""
    folder = tmp_path_factory.mktemp("comparison")
    config = SystemConfig(asr_vocab_size=30, st_vocab_size=30, encoder=CONFORMER)
    small = str(folder / "small.yaml")
    save_config(config, small)
    plan = ComparisonPlan(
        systems=(
            SystemEntry("ours", "Ours", checkpoint=str(checkpoint)),
            SystemEntry("again", "Ours again", checkpoint=str(checkpoint)),
            SystemEntry("cached", "Cached", random_weights=small, encoder_mode="cached"),
            SystemEntry(
                "recompute",
                "Recompute",
                random_weights=small,
                encoder_mode="recompute",
                recordings=2,
            ),
            SystemEntry("letters", "Letters", checkpoint=str(checkpoint), output_unit="char"),
        ),
        policies=("wait-k:k=1",),
        segment_ms=(320,),
        timelines=2,
        resamples=100,
    )
    texts = ("the cat sat", "on a mat and then", "it ran home")
    sources = listed(folder, (1.0, 2.2, 1.6), texts)
    runs = list(run_grid(plan, sources, folder / "out", Work(folder / "cache")))
    return plan, sources, runs


def test_every_system_is_run(grid) -> None:  # type: ignore[no-untyped-def]
    plan, sources, runs = grid
    assert [run.entry.name for run in runs] == ["ours", "again", "cached", "recompute", "letters"]
    assert [len(run.instances) for run in runs] == [3, 3, 3, 2, 3]
    forced = runs[2].instances
    assert [instance.prediction for instance in forced] == [s.reference for s in sources]
    assert runs[0].instances[0].prediction != forced[0].prediction
    for instance in runs[4].instances:
        assert " " not in instance.prediction
        assert len(instance.prediction) == len(instance.delays) > 3


def test_results_make_a_report(grid, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    plan, sources, runs = grid
    points = [point_of(run, plan, "log") for run in runs]
    assert "BLEU" in points[0].figures and "BLEU" not in points[2].figures
    assert points[0].joint is not None and points[2].joint is None
    assert all("LAAL_RT" in point.figures for point in points)
    systems = [system_of(entry, build.build_model(entry.options(320))) for entry in plan.systems]
    modes = ["stateful", "stateful", "cached", "recompute", "stateful"]
    assert [system.mode for system in systems] == modes
    assert pairs_of(systems) == [], "a trained system is not set against an untrained one"
    systems[1] = dataclasses.replace(systems[1], family="streamspeech")
    assert [(a.name, b.name) for a, b in pairs_of(systems)] == [
        ("ours", "again"),
        ("letters", "again"),
    ]
    paired = paired_of(runs[0], runs[1], plan)
    assert {row.metric for row in paired} >= {"BLEU", "LAAL", "compute_RTF"}
    assert next(row for row in paired if row.metric == "BLEU").p == 1.0
    untrained = paired_of(runs[2], runs[3], plan)
    assert {row.metric for row in untrained} == {"LAAL_CA", "LAAL_RT", "compute_RTF"}

    shown = shown_recordings(runs, sources, 2)
    heard = {instance.index for instance in runs[3].instances}
    assert {source.index for source in shown} == heard
    assert shown[0].length_ms > shown[1].length_ms
    utterances = [utterance_of(source, "dicho", runs) for source in shown]
    for utterance in utterances:
        for drawn, run in zip(utterance.runs, runs, strict=True):
            instance = next(ins for ins in run.instances if ins.index == utterance.index)
            elapsed = [word.elapsed.total_ms for word in drawn.words]
            assert elapsed == pytest.approx(list(instance.elapsed), abs=0.05)
    results = Results(
        **heading("compare", []),
        resampling={},
        data=Data("test", 3, 4.8, ""),
        systems=tuple(systems),
        points=tuple(points),
        paired=tuple(paired),
        lengths=(),
        utterances=tuple(utterances),
    )
    write_results(tmp_path / "results.json", dataclasses.asdict(results))
    points_again = json.loads((tmp_path / "results.json").read_text())["points"]
    assert [point["system"] for point in points_again] == [run.entry.name for run in runs]
    written = write_report(results, tmp_path)
    assert (tmp_path / "report.html") in written
    assert "Ours" in (tmp_path / "tables.md").read_text()
    assert results.stages == list(utterances[0].runs[0].segments[0].costs)


def test_a_run_whose_segments_do_not_fit_is_refused(grid, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    run = grid[2][0]
    for name in ("instances.log", LOG_NAME):
        (tmp_path / name).write_text((run.folder / name).read_text())
    assert read_run(run.entry, *run.key, tmp_path).instances == run.instances
    lines = (tmp_path / LOG_NAME).read_text().splitlines()
    (tmp_path / LOG_NAME).write_text(lines[0] + "\n")
    with pytest.raises(DataError, match="does not fit"):
        read_run(run.entry, *run.key, tmp_path)
    (tmp_path / LOG_NAME).write_text("{}\n")
    with pytest.raises(DataError, match="cannot be used"):
        utterance_of(grid[1][0], "dicho", [dataclasses.replace(run, folder=tmp_path)])


def test_recordings_are_spread() -> None:
    assert spread(range(10), 4) == [0, 2, 5, 7]
    assert spread(range(10), 99) == spread(range(10), None) == list(range(10))


def test_degenerate_is_more_than_half_at_the_end(grid) -> None:  # type: ignore[no-untyped-def]
    instance = grid[2][0].instances[1]

    def with_delays(*delays: float):  # type: ignore[no-untyped-def]
        return dataclasses.replace(instance, delays=delays, elapsed=())

    end = instance.source_length
    assert not is_degenerate([with_delays(320.0, end)])
    assert is_degenerate([with_delays(320.0, end, end)])
    assert not is_degenerate([with_delays()])


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
