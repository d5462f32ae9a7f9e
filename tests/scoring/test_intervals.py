"""Intervals of a run's figures, and tests between runs, from logs to what is printed."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest

from echostream.commands.score import main
from echostream.scoring.intervals import paired_tests, samples_of, with_intervals
from echostream.scoring.log import read_instances
from echostream.scoring.quality import QualityOptions
from echostream.scoring.scores import score_instances

GOLDEN = Path(__file__).parent / "golden" / "simuleval-main"


def test_every_figure_with_a_spread_gets_an_interval_around_it() -> None:
    instances = read_instances(GOLDEN / "instances.log")
    options = QualityOptions(names=("bleu", "chrf", "wer"), is_normalised=True)
    scores = score_instances(instances, 320, options)
    bounded = with_intervals(scores, instances, 200, quality=options)
    assert bounded.values == scores.values
    for before, figure in zip(scores.figures, bounded.figures, strict=True):
        if figure.value is None:
            assert figure.low is None
            continue
        assert figure.low is not None and figure.high is not None, figure.name
        assert figure.low <= figure.high
        assert figure.signature == before.signature + "|bs:200|seed:12345"
    assert {"BLEU", "chrF", "WER", "LAAL_CA", "compute_RTF"} <= bounded.values.keys()


def test_a_run_differs_from_a_slower_one_and_not_from_itself() -> None:
    instances = read_instances(GOLDEN / "instances.log")
    slower = [
        dataclasses.replace(
            ins,
            delays=tuple(d + 10 for d in ins.delays),
            elapsed=tuple(e + 10 for e in ins.elapsed),
        )
        for ins in instances
    ]
    tests = paired_tests({"one": instances, "same": instances, "slower": slower})
    assert {name: test.p_value for name, test in tests["same"].items()} == dict.fromkeys(
        tests["same"], 1.0
    )
    assert tests["slower"]["LAAL"].difference.value == pytest.approx(10)
    assert tests["slower"]["BLEU"].difference.value == 0
    smallest = 2 * 0.5 ** len([ins for ins in instances if ins.delays])
    assert tests["slower"]["LAAL"].p_value == pytest.approx(smallest, rel=0.5)


def test_samples_leave_out_what_has_no_value() -> None:
    silent = [
        dataclasses.replace(ins, prediction="", delays=(), elapsed=())
        for ins in read_instances(GOLDEN / "instances.log")
    ]
    assert list(samples_of(silent, ["BLEU", "LAAL", "WER"])) == ["BLEU", "WER"]


def test_command_line_prints_intervals_and_tests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [str(tmp_path / name) for name in ("one", "two")]
    for folder in folders:
        shutil.copytree(GOLDEN, folder)
    assert main([*folders, "--intervals", "150"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"LAAL +[\d.]+ ms +\[[\d.]+, [\d.]+\] LAAL\|.*\|bs:150\|seed:12345", printed)
    assert re.search(r"\| .*two \| BLEU \| [\d.]+ \| [\d.]+ \| \+0\.000 .* \| 1\.0000 \|", printed)
    kept = json.loads((tmp_path / "one" / "scores.json").read_text())
    low, high = kept["intervals"]["LAAL"]
    assert low <= kept["scores"]["LAAL"] <= high


def test_runs_of_other_utterances_are_not_tested(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    lines = (GOLDEN / "instances.log").read_text().splitlines(keepends=True)
    (folders[0] / "instances.log").write_text("".join(lines))
    (folders[1] / "instances.log").write_text("".join(lines[:-1]))
    assert main([*map(str, folders), "--intervals"]) == 1
    assert "no tests between runs" in capsys.readouterr().err
