from __future__ import annotations

import json
from pathlib import Path

import pytest

from echostream.scoring.cli import main

from .logs import record, write_log


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_log(tmp_path / name / "instances.log", [record()])
    return [str(tmp_path / "one"), str(tmp_path / "two")]


def test_tables(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*runs, "--segment-size", "320"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert [line for line in out.splitlines() if line.startswith(runs[0] + ":")]
    assert [line for line in out.splitlines() if line.startswith(runs[1] + ":")]
    assert out.count("|seg:320ms|") == 20
    assert (Path(runs[1]) / "scores.tsv").exists()


def test_json_lines(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", *runs]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["folder"] for line in lines] == runs
    saved = json.loads((Path(runs[0]) / "scores.json").read_text(encoding="utf-8"))
    assert lines[0] == {"folder": runs[0], **saved}


def test_a_bad_folder_costs_one_line_and_the_others_are_scored(
    runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (Path(runs[0]) / "instances.log").write_text("{\n", encoding="utf-8")
    assert main(runs) == 1
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert err.startswith("echostream score: error: ")
    assert "line 1" in err
    assert out.startswith(runs[1])


@pytest.mark.parametrize(
    "arguments",
    [[], ["x", "--wrong"], *(["x", "--segment-size", size] for size in ("0", "-1", "nan", "a"))],
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "usage: echostream score" in capsys.readouterr().err


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "usage: echostream score" in capsys.readouterr().out
