from __future__ import annotations

from dataclasses import replace

from echostream.scoring.problems import Problem
from echostream.scoring.quality import QualityOptions
from echostream.scoring.scores import score_instances
from echostream.scoring.tables import format_comparison

from .logs import utterance

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
