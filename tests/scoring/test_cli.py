"""The command line of scores, and several runs side by side."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from echostream.commands.score import main
from echostream.scoring.problems import Problem
from echostream.scoring.quality import QualityOptions
from echostream.scoring.scores import score_instances
from echostream.scoring.tables import format_comparison

from .logs import record, utterance, write_log


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
    assert out.count("|seg:320ms|") == 2 * 30
    assert (Path(runs[1]) / "scores.tsv").exists()
    # the comparison comes last
    assert out.splitlines()[-1].startswith(f"| {runs[1]} | 1 |")


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
    [
        [],
        ["x", "--wrong"],
        *(["x", "--segment-size", size] for size in ("0", "-1", "nan", "a")),
        *(["x", "--num-instances", number] for number in ("0", "-1", "two")),
        ["x", "--num-instances", "3", "--source", "list"],
        ["x", "--quality", "bleu,meteor"],
    ],
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "usage: echostream score" in capsys.readouterr().err


def test_exit_status_tells_a_damaged_log(
    runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    log = Path(runs[0]) / "instances.log"
    write_log(log, [record(), record(index=1)])
    assert main(runs[:1]) == 0
    assert main([runs[0], "--num-instances", "2"]) == 0
    assert main([runs[0], "--num-instances", "3"]) == 1
    assert "PROBLEM: missing-line x 1" in capsys.readouterr().out
    sources = Path(runs[0]) / "list"
    sources.write_text("a.wav\nb.wav\nc.wav\nd.wav\n", encoding="utf-8")
    assert main([runs[0], "--source", str(sources)]) == 1
    assert "missing-line x 2" in capsys.readouterr().out
    log.write_bytes(log.read_bytes()[:-20])
    assert main(runs[:1]) == 1
    out, err = capsys.readouterr()
    assert "PROBLEM: truncated-line x 1" in out and err == ""
    assert main([*runs[:1], "--strict"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "line 2: the last line is cut short" in err


def test_source_list_that_is_not_there(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*runs, "--source", runs[0] + "/none"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "none: No such file" in err


def test_quality_options(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    log = Path(runs[0]) / "instances.log"
    write_log(log, [record(prediction="One, two: THREE", reference="one two three four")])
    assert main([runs[0], "--json", "--quality", "wer"]) == 0
    assert main([runs[0], "--json", "--quality", "wer,bleu", "--normalise"]) == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first["scores"]["WER"] == 100
    assert "BLEU" not in first["scores"]
    assert second["scores"]["WER"] == 25  # one word of four is missing
    assert second["signatures"]["WER"].endswith("|text:normalised")
    assert second["signatures"]["BLEU"].endswith("|text:normalised")


def test_print_only(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--print-only", *runs]) == 0
    assert "LAAL_RT" in capsys.readouterr().out
    assert [path.name for path in Path(runs[0]).iterdir()] == ["instances.log"]


FIRST = score_instances([utterance([320, 640, 1000], 1000, 4, [330, 660, 1030])], 320)
SECOND = score_instances([utterance([640, 640, 1000], 1000, 4, [])], 640)


def test_one_row_per_run() -> None:
    lines = format_comparison({"a": FIRST, "b|c": SECOND}).splitlines()
    header = [cell.strip() for cell in lines[0].strip("|").split("|")]
    assert header[:3] == ["run", "instances", "BLEU"]
    assert "WER" not in header  # nothing has it
    rows = [
        [cell.strip() for cell in line.replace("\\|", "/")[1:-1].split("|")] for line in lines[2:4]
    ]
    first, second = (dict(zip(header, row, strict=True)) for row in rows)
    assert first["LAAL"] == "403.333"  # worked out in test_folder
    assert second["run"] == "b/c"
    assert second["LAAL_CA"] == "-"
    assert {len(row) for row in rows} == {len(header)}


def test_signatures_that_differ_are_named() -> None:
    lines = format_comparison({"a": FIRST, "b": SECOND}).splitlines()
    assert "LAAL differs in seg:320ms and seg:640ms" in lines
    assert not any(line.startswith("LAAL_CA differs") for line in lines)  # only one has it
    normalised = score_instances(
        [utterance([320], 1000, 4)], 320, QualityOptions(is_normalised=True)
    )
    assert "BLEU differs in (none) and text:normalised" in format_comparison(
        {"a": FIRST, "b": normalised}
    )
    assert "differs" not in format_comparison({"a": FIRST, "b": FIRST})


def test_a_run_with_errors_is_marked() -> None:
    bad = replace(FIRST, problems=(Problem("truncated-line", 1, (3,), "cut"),))
    text = format_comparison({"a": FIRST, "b": bad})
    assert "| a | 1 |" in text
    assert "| b \\* | 1 |" in text
    assert "\\* the log is damaged" in text
