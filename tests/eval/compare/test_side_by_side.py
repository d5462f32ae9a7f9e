"""Whisper's lines of a comparison."""

import dataclasses
from pathlib import Path

import pytest
import soundfile

from echostream.constants import SAMPLE_RATE
from eval.compare import side_by_side
from eval.compare.__main__ import main
from eval.compare.plan import ComparisonPlan
from eval.compare.points import paired_of, point_of
from eval.compare.side_by_side import ENTRIES, run_side_by_side
from eval.sweep import Work, read_sources
from tests.small_system import audio, make_whisper


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
    for number, seconds in enumerate((1.5, 2.0)):
        soundfile.write(tmp_path / f"{number}.wav", audio(seconds, number), SAMPLE_RATE)
    (tmp_path / "wav_list").write_text("".join(f"{tmp_path}/{n}.wav\n" for n in range(2)))
    (tmp_path / "references").write_text("a b c d\ne f\n")
    sources = read_sources(tmp_path / "wav_list", tmp_path / "references")
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
