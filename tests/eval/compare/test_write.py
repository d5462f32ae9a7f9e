"""All files of a report, or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from echostream.errors import DataError
from eval.compare.write import write_report

from .synthetic import synthetic_results


def test_files(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "report"
    written = write_report(synthetic_results(utterances=1, runs=1), folder)
    names = ["compute-length", "compute-position", "delays-1", "quality-latency", "state-length"]
    assert sorted(str(path.relative_to(folder)) for path in written) == [
        *(f"figures/{name}.svg" for name in names),
        "report.html",
        "tables.md",
    ]
    assert written[0] == folder / "report.html"
    assert sorted(path for path in folder.rglob("*") if path.is_file()) == sorted(written)
    before = [path.read_bytes() for path in written]
    write_report(synthetic_results(utterances=1, runs=1), folder)
    assert [path.read_bytes() for path in written] == before


def test_nothing_is_written_for_wrong_results(tmp_path: Path) -> None:
    results = synthetic_results(utterances=1, runs=1)
    results["utterances"][0]["runs"][0]["words"][0]["elapsed"]["total_ms"] += 1
    with pytest.raises(DataError, match="add up"):
        write_report(results, tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_nothing_is_written_for_a_wrong_covariance(tmp_path: Path) -> None:
    results = synthetic_results(utterances=1, runs=1)
    results["points"][0]["joint"]["covariance"] = [[1.0, 5.0], [5.0, 1.0]]
    with pytest.raises(DataError, match="positive semi-definite"):
        write_report(results, tmp_path / "report")
    assert not (tmp_path / "report").exists()
