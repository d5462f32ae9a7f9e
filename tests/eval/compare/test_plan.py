"""The file that says what is compared; compute against length; Whisper's lines."""

import dataclasses
from pathlib import Path

import pytest

from echostream.errors import ConfigError
from eval.compare import side_by_side
from eval.compare.__main__ import main
from eval.compare.lengths import length_runs, median_pass, one_pass
from eval.compare.plan import ComparisonPlan, load_plan
from eval.compare.points import paired_of, point_of
from eval.compare.schema import SegmentCost
from eval.compare.side_by_side import ENTRIES, run_side_by_side
from eval.sweep import Work
from tests.eval.corpora import listed
from tests.small_system import audio, make_whisper

SHIPPED = Path(__file__).parents[3] / "configs" / "compare.yaml"


def test_shipped_plan_makes_options() -> None:
    plan = load_plan(SHIPPED)
    for system in plan.systems:
        options = system.options(320)
        assert Path(str(options.checkpoint or options.random_weights)).exists()
    assert {system.encoder_mode for system in plan.systems} == {None, "cached", "recompute"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("policies: [ctc]", "names no systems"),
        ("systems: []", "names that differ"),
        ("systems: [{name: a, label: A}]", "exactly one"),
        ("systems: [{name: a, label: A, checkpoint: x, random_weights: y}]", "exactly one"),
        (
            "systems: [{name: a, label: A, checkpoint: x}, {name: a, label: B, checkpoint: y}]",
            "names that differ",
        ),
        ("systems: [{name: a, label: A, checkpoint: x}]\nsegment_ms: [100]", "160"),
        ("systems: [{name: a, label: A, checkpoint: x}]\nsegment_ms: []", "empty"),
        ("systems: [{name: a, label: A, checkpoint: x}]\npolicies: [ctc:k]", "name=value"),
        ("systems: [{name: a, label: A, checkpoint: x}]\nrepeats: 0", "repeats is 0"),
        ("systems: [{name: a, label: A, checkpoint: x, recordings: 1}]", "recordings 1"),
        ("systems: [{name: a, labell: A, checkpoint: x}]", "did you mean 'label'"),
        ("systems: {", "not valid YAML"),
    ],
)
def test_mistakes_are_named(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "compare.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told):
        load_plan(path)


def test_missing_plan(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_plan(tmp_path / "none.yaml")


def test_a_policy_from_outside_the_package(tmp_path: Path) -> None:
    path = tmp_path / "compare.yaml"
    wanted = ("my.module:Class", "my.module:Class:k=3,name=a:b")
    path.write_text(
        "systems: [{name: a, label: A, checkpoint: x, output_unit: char}]\n"
        f"policies: ['{wanted[0]}', '{wanted[1]}']\n"
    )
    plan = load_plan(path)
    assert plan.policies == wanted
    assert plan.systems[0].options(320).output_unit == "char"


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
    runs = length_runs("system", (1, 5, 10, 20), passes(1.0))
    assert [run.seconds for run in runs] == [1, 5, 10], "20 s were not heard"
    assert [len(run.segments) for run in runs] == [3, 15, 31]
    assert runs[1].compute_ms == sum(range(1, 16)) + 15 * 0.5
    assert runs[1].compute_rtf == pytest.approx((120 + 7.5) / 4800)
    assert runs[1].state_bytes == 1500


def test_one_pass_measures_every_segment(translate) -> None:  # type: ignore[no-untyped-def]
    samples = audio(2.1)
    costs = one_pass(translate(), samples, None)
    assert [segment.audio_ms for segment in costs] == [320, 640, 960, 1280, 1600, 1920]
    assert all(segment.costs["encoder"] > 0 for segment in costs)
    assert len({segment.state_bytes for segment in costs}) == 1, "the state does not grow"


def test_all_hear_the_same_and_nothing_is_done_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = str(tmp_path / "small-whisper")
    make_whisper(Path(base))
    folders = {side_by_side.BASE: base}
    ours = f"{base}/../small-whisper"
    entries = [
        dataclasses.replace(entry, checkpoint=folders.get(str(entry.checkpoint), ours))
        for entry in ENTRIES
    ]
    monkeypatch.setattr(side_by_side, "BASE", base)
    monkeypatch.setattr(side_by_side, "ENTRIES", entries)
    sources = listed(tmp_path, (1.5, 2.0), ("a b c d", "e f"))
    work = Work(tmp_path / "cache")
    found = run_side_by_side(sources, "es", tmp_path / "runs", work)
    assert [system.mode for system, _ in found] == [
        *("stateful", "stateful", "recompute", "recompute", "whole recording"),
    ]
    plan = ComparisonPlan(systems=tuple(entries), resamples=100)
    for _, run in found:
        for instance, seconds in zip(run.instances, (1.5, 2.0), strict=True):
            ends = [640.0, 1280.0, *([1920.0] if seconds == 2 else []), 1000 * seconds]
            assert [segment.audio_ms for segment in instance.segments] == ends
            assert set(instance.delays) <= set(ends)
        assert point_of(run, plan, "log").figures["compute_RTF"].value
    assert all(set(instance.delays) <= {1500, 2000} for instance in found[4][1].instances)
    assert {row.metric for row in paired_of(found[0][1], found[1][1], plan)} >= {"compute_RTF"}

    def again(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(side_by_side, "translated", again)
    resumed = run_side_by_side(sources, "es", tmp_path / "runs", work)
    assert [run.instances for _, run in resumed] == [run.instances for _, run in found]


def test_what_has_to_be_fetched_is_said_before_hours_of_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ECHOSTREAM_CACHE", str(tmp_path))
    assert main(["--whisper", "--output", str(tmp_path)]) == 1
    assert "echostream fetch whisper-base" in capsys.readouterr().err
