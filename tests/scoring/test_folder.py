"""Figures and files of a folder, and the signatures of figures."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from echostream import __version__
from echostream.errors import DataError
from echostream.scoring.earlier import notes_on_earlier
from echostream.scoring.folder import ScoreOptions, format_scores, score_folder
from echostream.scoring.log import read_instances
from echostream.scoring.quality import QualityOptions
from echostream.scoring.readings import Reading
from echostream.scoring.scores import (
    inferred_segment,
    latency_signature,
    score_instances,
    stated_segment,
)

from .logs import record, write_log

COLUMNS = ["BLEU"]
COLUMNS += ["LAAL", "LAAL_CA", "AL", "AL_CA", "AP", "AP_CA", "DAL", "DAL_CA", "ATD", "ATD_CA"]
IDEAL_NAMES = ("LAAL", "AL", "AP", "DAL", "ATD", "YAAL", "StartOffset", "EndOffset", "EndRatio")

# Source 1000 ms, reference of 4 words, words at 320, 640, 1000 ms. Worked out by hand:
# AL, LAAL: (320 + 390 + 500) / 3. AP: 1960 / 4000. DAL, step 1000/3: 320, 653.33, 1000 less 0,
# 333.33, 666.67. ATD: tokens 300, 320 | 620, 640 | 940, 1000: 20, then 640 - 320 (two tokens, one
# word before), then 1000 - 620 (four tokens, two words before: token 3).
VALUES = {"LAAL": 403.333, "AL": 403.333, "AP": 0.49, "DAL": 324.444, "ATD": 240.0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_log(tmp_path / "instances.log", [record()])
    return tmp_path


def details(folder: Path) -> dict[str, Any]:
    loaded = json.loads(
        (folder / "scores.json").read_text(encoding="utf-8"),
        parse_constant=lambda name: pytest.fail(f"{name} is not JSON"),
    )
    assert isinstance(loaded, dict)
    return loaded


def tsv(**values: float) -> str:
    return "\t".join(values) + "\n" + "\t".join(map(str, values.values())) + "\n"


def test_files(folder: Path) -> None:
    scores = score_folder(folder, segment_size=320)
    header, row, rest = (folder / "scores.tsv").read_bytes().decode().split("\n")
    assert header.split("\t") == COLUMNS
    assert rest == ""
    written = dict(zip(COLUMNS, map(float, row.split("\t")), strict=True))
    for name, value in VALUES.items():
        assert written[name] == value

    saved = details(folder)
    assert saved["scores"] == scores.values
    for name in COLUMNS:
        assert round(saved["scores"][name], 3) == written[name]
    assert saved["scores"]["AL"] == pytest.approx(1210 / 3, abs=1e-12)  # not rounded
    assert saved["signatures"]["AL_CA"].startswith("AL|unit:word|len:ref|ca:yes|seg:320ms|eval:")
    assert saved["signatures"]["DAL"].startswith("DAL|unit:word|len:hyp|ca:no|")
    assert saved["counts"] == {
        "instances": 1,
        "words": 3,
        "reference_words": 4,
        "latency_instances": 1,
        "latency_instances_ca": 1,
        "latency_instances_rt": 1,
    }
    assert (saved["scored"]["YAAL"], "BLEU" in saved["scored"]) == (1, False)
    assert [problem["kind"] for problem in saved["problems"]] == ["unknown-length"]
    assert set(saved["scores"]) == {
        *("BLEU", "chrF", "NumChunks", "NumWrites", "compute_RTF"),
        *(name + suffix for name in IDEAL_NAMES for suffix in ("", "_CA", "_RT")),
    }
    assert sorted(path.name for path in folder.iterdir()) == [
        "instances.log",
        "scores.json",
        "scores.tsv",
    ]


def test_empty_predictions_count_in_bleu_only(tmp_path: Path) -> None:
    full = record(prediction="one two three four", delays=[320] * 4, elapsed=[330] * 4)
    silent = record(index=1, prediction="", delays=[], elapsed=[])
    write_log(tmp_path / "instances.log", [full])
    alone = score_folder(tmp_path).values
    write_log(tmp_path / "instances.log", [full, silent])
    both = score_folder(tmp_path)
    assert {**both.values, "BLEU": 0, "chrF": 0} == {**alone, "BLEU": 0, "chrF": 0}
    assert alone["BLEU"] == pytest.approx(100)
    assert both.values["BLEU"] < 50  # type: ignore[operator]
    assert both.counts["instances"] == 2
    assert both.counts["latency_instances"] == 1
    assert details(tmp_path)["problems"][-1]["kind"] == "empty-prediction"


def test_a_log_of_empty_predictions_does_not_crash(tmp_path: Path) -> None:
    silent = [record(index=i, prediction="", delays=[], elapsed=[]) for i in range(3)]
    write_log(tmp_path / "instances.log", silent)
    scores = score_folder(tmp_path)
    assert (scores.values["BLEU"], scores.values["chrF"]) == (0, 0)
    assert {value for value in scores.values.values() if value != 0} == {None}
    row = (tmp_path / "scores.tsv").read_text(encoding="utf-8").splitlines()[1]
    assert row.split("\t") == ["0.0"] + ["nan"] * 10
    assert details(tmp_path)["scores"]["AL"] is None
    text = format_scores(scores, "run")
    assert "3 instances, 0 with latency" in text
    assert "empty-prediction x 3" in text


def test_without_elapsed_times_there_is_no_aware_figure(tmp_path: Path) -> None:
    write_log(tmp_path / "instances.log", [record(elapsed=None)])
    scores = score_folder(tmp_path)
    assert scores.values["AL"] is not None
    assert scores.values["AL_CA"] is None
    assert [problem.kind for problem in scores.problems] == ["unknown-length", "missing-elapsed"]
    assert not scores.has_errors


def test_scoring_twice_changes_nothing(folder: Path) -> None:
    wrong = tsv(BLEU=1.0, AL=500.0, AL_CA=500.0, WER=12.0, COMET=0.5)
    (folder / "scores.tsv").write_text(wrong, encoding="utf-8")
    first = score_folder(folder)
    files = [(folder / name).read_bytes() for name in ("scores.tsv", "scores.json")]
    second = score_folder(folder)
    assert [(folder / name).read_bytes() for name in ("scores.tsv", "scores.json")] == files
    assert first == second
    assert second.earlier == wrong
    assert len(second.notes) == 2
    # Other options make another table, and what the tool left is still known.
    lower = ScoreOptions(quality=QualityOptions(("bleu",), is_normalised=True))
    assert score_folder(folder, 320, lower).earlier == wrong
    assert score_folder(folder).earlier == wrong


def test_wer_is_scored_if_the_tool_was_asked_for_it(folder: Path) -> None:
    assert "WER" not in score_folder(folder).values
    for name in ("scores.tsv", "scores.json"):
        (folder / name).unlink()
    (folder / "scores.tsv").write_text(tsv(WER=25.0, AL=403.333), encoding="utf-8")
    scores = score_folder(folder)
    assert scores.values["WER"] == 25  # a word of four is missing
    assert scores.notes == ()
    assert (
        "WER"
        not in score_folder(folder, options=ScoreOptions(quality=QualityOptions(("bleu",)))).values
    )


def test_a_damaged_scores_json_does_not_stop_the_scoring(folder: Path) -> None:
    score_folder(folder)
    ours = (folder / "scores.tsv").read_text(encoding="utf-8")
    for text in ("{", "[]", '{"earlier_scores_tsv": 3}', "", "[" * 100_000):
        (folder / "scores.json").write_text(text, encoding="utf-8")
        assert score_folder(folder).earlier == ours  # as if another tool had written it
        assert details(folder)["counts"]["instances"] == 1


def test_half_a_surrogate_pair_in_a_log_is_written_as_an_escape(folder: Path) -> None:
    write_log(folder / "instances.log", [record(prediction="a \ud800 b"), {"\ud800": 1}])
    assert score_folder(folder).has_errors
    assert "found \\ud800;" in details(folder)["problems"][0]["meaning"]


@pytest.mark.parametrize("text", ["", "AL\n", "AL\tAP\n1.0\n", "AL\nfast\n", "AL\n1\n2\n"])
def test_an_earlier_table_that_is_none_is_kept_as_text(folder: Path, text: str) -> None:
    (folder / "scores.tsv").write_text(text, encoding="utf-8")
    scores = score_folder(folder)
    assert scores.earlier == text
    (note,) = scores.notes
    assert "was not a header line and a row" in note


OURS = {"BLEU": 25.0, "AL": 400.0, "AL_CA": 410.0, "ATD": 200.0, "ATD_CA": 210.0}


@pytest.mark.parametrize(
    ("earlier", "expected"),
    [
        # right: nothing to say
        ({"BLEU": 25.0, "AL": 400.0, "AL_CA": 410.0}, []),
        ({"AL": 400.0004}, []),
        # what the release prints
        ({"AL": 410.0, "AL_CA": 410.0}, ["SimulEval 1.1.4, which computes all columns"]),
        ({"AL": 410.0, "AL_CA": 410.0, "ATD": 210.0}, ["SimulEval 1.1.4", "ATD 210"]),
        # other values
        ({"AL": 405.0, "AL_CA": 410.0}, ["other values than the log says"]),
        # both
        ({"BLEU": 24.0, "AL": 410.0, "AL_CA": 410.0}, ["AL 410", "BLEU 24.000 -> 25.000"]),
        ({"StartOffset": 320.0}, ["not computed here (StartOffset)"]),
    ],
)
def test_notes_on_an_earlier_table(earlier: dict[str, float], expected: list[str]) -> None:
    notes = notes_on_earlier(tsv(**earlier), OURS)
    assert len(notes) == len(expected)
    for note, part in zip(notes, expected, strict=True):
        assert part in note
        assert "\n" not in note


def test_a_damaged_log_leaves_the_table_alone(folder: Path) -> None:
    write_log(folder / "instances.log", [record(), record()])
    (folder / "scores.tsv").write_text("AL\n1.0\n", encoding="utf-8")
    for _ in range(2):
        scores = score_folder(folder)
        assert scores.has_errors
        assert (folder / "scores.tsv").read_text(encoding="utf-8") == "AL\n1.0\n"
        assert details(folder)["scores"]["AL"] == pytest.approx(1210 / 3)
        assert scores.earlier == "AL\n1.0\n"
        assert "left as it was" in scores.notes[-1]


def test_a_refused_log_leaves_the_folder_alone(folder: Path) -> None:
    write_log(folder / "instances.log", [record(), record()])
    (folder / "scores.tsv").write_text("AL\n1.0\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 2"):
        score_folder(folder, options=ScoreOptions(is_strict=True))
    assert (folder / "scores.tsv").read_text(encoding="utf-8") == "AL\n1.0\n"
    assert not (folder / "scores.json").exists()


def test_every_figure_is_printed_with_its_signature(folder: Path) -> None:
    scores = score_instances(read_instances(folder / "instances.log"))
    lines = format_scores(scores, "run").splitlines()
    assert lines[0].startswith("run: 1 instances")
    for line, figure in zip(lines[1:], scores.figures, strict=True):
        assert line.split()[0] == figure.name
        assert line.endswith(figure.signature)
    assert "403.333 ms" in lines[3]
    assert "|ca:no|seg:<=320ms|" in lines[3]


@pytest.mark.parametrize(
    ("reading", "field"),
    [
        (Reading.IDEAL, "|ca:no"),
        (Reading.COMPUTATION_AWARE, "|ca:yes"),
        (Reading.REAL_TIME, "|ca:real-time(segments)"),
        (None, ""),
    ],
)
def test_signature(reading: Reading | None, field: str) -> None:
    signature = latency_signature(
        "LAAL",
        [("len", "max(ref,hyp)")],
        reading=reading,
        segment=stated_segment(62.5),
        origin="segments",
    )
    ending = f"{field}|seg:62.5ms|eval:echostream-{__version__}"
    assert signature == "LAAL|unit:word|len:max(ref,hyp)" + ending


@pytest.mark.parametrize("size", [0, -320, math.nan, math.inf])
def test_stated_segment_refuses(size: float) -> None:
    with pytest.raises(DataError, match="segment size"):
        stated_segment(size)


def test_inferred_segment() -> None:
    early = ([640.0, 1600.0, 1700.0], 1700.0)
    assert inferred_segment([early]) == "<=320ms"  # 1700 is the end, not a whole segment
    assert inferred_segment([early, ([960.0, 1280.0], 9000.0)]) == "<=320ms"
    assert inferred_segment([([960.0, 960.0, 1000.0], 1000.0)]) == "<=960ms"
    for delays in ([1700.0], [], [0.0], [320.0, 333.33]):
        assert inferred_segment([(delays, 1700.0)]) == "unknown"
