"""F54 to F57: logs that are not what they should be."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from echostream.errors import DataError
from echostream.scoring.latency import LATENCY_METRICS, mean_latency
from echostream.scoring.log import read_log
from echostream.scoring.readings import Reading
from echostream.scoring.report import score_folder
from tests.faults.conftest import ROOT
from tests.scoring.logs import record

GOLDEN = ROOT / "tests" / "scoring" / "golden"

EMPTY = {"prediction": "", "delays": [], "elapsed": [], "prediction_length": 0}


def write(folder: Path, lines: list[dict[str, Any] | str]) -> Path:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / "instances.log").write_text("\n".join(texts) + "\n", encoding="utf-8")
    return folder


def kinds(folder: Path, **options: Any) -> set[str]:
    """Of all problems, in the file and in its lines."""
    scores = score_folder(folder, **options)
    return {problem.kind for problem in scores.problems}


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "empty prediction": (EMPTY, "empty-prediction"),
    "missing elapsed": ({"elapsed": None}, "partly-missing-elapsed"),
    "NaN delay": ({"delays": [320.0, math.nan, 1000.0]}, "bad-times"),
    "decreasing delays": ({"delays": [640.0, 320.0, 1000.0]}, "decreasing-delays"),
    "blank reference": ({"reference": " "}, "blank-reference"),
    "another count": ({"delays": [320.0]}, "count-mismatch"),
    "negative length": ({"source_length": -5.0}, "bad-source-length"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_F54_a_bad_line_is_counted_and_the_others_scored(tmp_path: Path, change: str) -> None:
    values, kind = CHANGES[change]
    write(tmp_path, [record(index=0), record(index=1, **values), record(index=2)])
    scores = score_folder(tmp_path)
    assert kind in {problem.kind for problem in scores.problems}
    assert all(value is None or math.isfinite(value) for value in scores.values.values())
    # A table that others read is written only if nothing in the log is wrong.
    assert (tmp_path / "scores.tsv").exists() is not scores.has_errors
    log = read_log(tmp_path)
    good = [instance for instance in log.instances if instance.index != 1]
    laal = next(metric for metric in LATENCY_METRICS if metric.name == "LAAL")
    of_good = mean_latency(good, laal, Reading.IDEAL).value
    # Nothing is averaged in that is not a latency, such as a silent 0.
    if kind not in ("partly-missing-elapsed", "blank-reference"):
        assert mean_latency(log.instances, laal, Reading.IDEAL).value == of_good


def test_F54_doubled_missing_and_cut_lines_are_counted(tmp_path: Path) -> None:
    doubled = [record(index=0), record(index=1), record(index=1)]
    assert "duplicate-index" in kinds(write(tmp_path, doubled))
    assert "index-gap" in kinds(write(tmp_path, [record(index=0), record(index=2)]))
    whole = json.dumps(record(index=1))
    (tmp_path / "instances.log").write_text(json.dumps(record(index=0)) + "\n" + whole[:70])
    assert "truncated-line" in kinds(tmp_path)
    assert {p.kind for p in read_log(write(tmp_path, [record(index=0)]), expected=2).problems} == {
        "missing-line"
    }


def test_F54_a_log_of_nothing_is_an_error_and_not_a_zero(tmp_path: Path) -> None:
    for text in ("", "\n\n", "{", "[]\n"):
        (tmp_path / "instances.log").write_text(text)
        with pytest.raises(DataError):
            score_folder(tmp_path)
    assert not (tmp_path / "scores.tsv").exists()


def test_F55_logs_of_the_release_and_of_the_main_branch_score_alike() -> None:
    """Both of one script, so the ideal figures must be the same."""
    logs = [read_log(GOLDEN / name).instances for name in ("simuleval-1.1.4", "simuleval-main")]
    figures = [
        {m.name: mean_latency(log, m, Reading.IDEAL).value for m in LATENCY_METRICS} for log in logs
    ]
    assert figures[0] == figures[1]
    assert figures[0]["LAAL"] > 0


def test_F56_computation_aware_below_ideal_is_flagged(tmp_path: Path) -> None:
    early = record(index=1, elapsed=[300.0, 600.0, 990.0])
    assert "elapsed-below-delay" in kinds(write(tmp_path, [record(index=0), early]))
    assert "elapsed-below-delay" not in kinds(write(tmp_path, [record(index=0), record(index=1)]))


@pytest.mark.parametrize("late", [3, 8])
def test_F57_a_policy_that_only_looks_simultaneous_is_flagged(tmp_path: Path, late: int) -> None:
    """Ten words in ten seconds at an even pace; then all but a few at the end of the source."""
    even = [1000.0 * word for word in range(10)]
    delays = even[: 10 - late] + [10_000.0] * late
    words = " ".join("abcdefghij")
    line = record(
        prediction=words,
        reference=words,
        delays=delays,
        elapsed=delays,
        source_length=10_000.0,
        prediction_length=10,
    )
    write(tmp_path, [{**line, "index": number} for number in range(3)])
    scores = score_folder(tmp_path)
    (found,) = [p for p in scores.problems if p.kind == "likely-degenerate-policy"]
    # The words before the end do not lag at all, so YAAL is 0 and all of the source is left.
    assert f"{100 - 10 * late:.1f} %" in found.meaning and "100.0 %" in found.meaning
    assert not scores.has_errors


def test_F57_an_even_pace_is_not_flagged(tmp_path: Path) -> None:
    words = " ".join("abcdefghij")
    for shift, expected in ((0.0, False), (3000.0, False), (9900.0, False)):
        delays = [min(1000.0 * word + shift, 10_000.0) for word in range(10)]
        line = record(prediction=words, reference=words, delays=delays, elapsed=delays)
        write(tmp_path, [{**line, "source_length": 10_000.0, "prediction_length": 10}])
        assert ("likely-degenerate-policy" in kinds(tmp_path)) is expected, shift
