"""Policies that only look simultaneous, and the same script logged by two SimulEvals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from echostream.scoring.folder import score_folder
from echostream.scoring.latency import LATENCY_METRICS, mean_latency
from echostream.scoring.log import read_log
from echostream.scoring.problems import Problem
from echostream.scoring.readings import Reading
from tests.scoring.logs import record

GOLDEN = Path(__file__).parent / "golden"
WORDS = " ".join("abcdefghij")


def flagged(folder: Path, delays: list[float]) -> list[Problem]:
    """What is said of three recordings of ten seconds with ten words at these times."""
    line = record(
        prediction=WORDS,
        reference=WORDS,
        delays=delays,
        elapsed=delays,
        source_length=10_000.0,
        prediction_length=10,
    )
    lines = [json.dumps({**line, "index": number}) for number in range(3)]
    (folder / "instances.log").write_text("\n".join(lines) + "\n")
    scores = score_folder(folder)
    assert not scores.has_errors
    return [p for p in scores.problems if p.kind == "likely-degenerate-policy"]


@pytest.mark.fault("F57")
@pytest.mark.parametrize("late", [3, 8])
def test_words_at_the_end_of_the_source_are_flagged(tmp_path: Path, late: int) -> None:
    """An even pace; then all but a few at the end."""
    even = [1000.0 * word for word in range(10)]
    (found,) = flagged(tmp_path, even[: 10 - late] + [10_000.0] * late)
    # The words before the end do not lag at all, so YAAL is 0 and all of the source is left.
    assert f"{100 - 10 * late:.1f} %" in found.meaning and "100.0 %" in found.meaning


@pytest.mark.fault("F57")
@pytest.mark.parametrize("shift", [0.0, 3000.0, 9900.0])
def test_an_even_pace_is_not_flagged(tmp_path: Path, shift: float) -> None:
    assert flagged(tmp_path, [min(1000.0 * word + shift, 10_000.0) for word in range(10)]) == []


@pytest.mark.fault("F55")
def test_logs_of_the_release_and_of_the_main_branch_score_alike() -> None:
    """Both of one script, so the ideal figures must be the same."""
    logs = [read_log(GOLDEN / name).instances for name in ("simuleval-1.1.4", "simuleval-main")]
    figures = [
        {m.name: mean_latency(log, m, Reading.IDEAL)[0] for m in LATENCY_METRICS} for log in logs
    ]
    assert figures[0] == figures[1]
    assert figures[0]["LAAL"] > 0
