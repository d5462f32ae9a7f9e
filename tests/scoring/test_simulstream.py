"""Logs in the format of simulstream 1.0.0, made by the rules of its message processor."""

import json
from pathlib import Path
from typing import Any

import pytest

from echostream.commands.score import main
from echostream.errors import DataError
from echostream.scoring.folder import ScoreOptions, score_folder
from echostream.scoring.log import read_log
from echostream.scoring.readings import Reading, times

from .logs import write_log


def chunk(seconds: float, cost: float, new: list[str], deleted: list[str] = []) -> dict[str, Any]:  # noqa: B006
    return {
        "id": 7,
        "total_audio_processed": seconds,
        "computation_time": cost,
        "generated_tokens": new,
        "deleted_tokens": deleted,
    }


def log(*chunks: dict[str, Any], name: str = "a/talk.wav") -> list[dict[str, Any]]:
    return [{"id": 7, "metadata": {"wav_name": name}}, *chunks]


LOADED = {"model_loading_time": 5.96}
WORDS = log(chunk(1.0, 0.5, ["a", "cat"]), chunk(2.0, 1.5, []), chunk(2.5, 0.1, ["sat"]))
PIECES = log(
    chunk(2.0, 0.5, ["▁the", "▁ca", "t", "."]),
    chunk(4.0, 0.5, ["▁sat"], ["."]),
    chunk(5.0, 0.5, ["▁on", "▁it"], ["▁sat"]),
    chunk(6.0, 0.5, ["▁at"], ["▁it"]),
)


def test_words_with_their_costs(tmp_path: Path) -> None:
    path = write_log(tmp_path / "metrics.jsonl", [LOADED, *WORDS])
    (ins,) = read_log(path).instances
    assert (ins.prediction, ins.delays) == ("a cat sat", (1000, 1000, 2500))
    assert (ins.source_file, ins.source_length) == ("a/talk.wav", 2500)
    # 1000 + 500; then 2000 + 1500 while the next audio is there, and 100 after that
    assert times(ins, Reading.REAL_TIME) == (1500, 1500, 3600)


def test_what_was_replaced_is_not_there_and_a_changed_word_is_as_late_as_its_change(
    tmp_path: Path,
) -> None:
    (ins,) = read_log(write_log(tmp_path / "metrics.jsonl", PIECES)).instances
    assert ins.prediction == "the cat on at"
    # "cat." became "cat" at 4 s; "sat" became "on" at 5 s, "it" became "at" at 6 s
    assert ins.delays == (2000, 4000, 5000, 6000)
    assert [segment.words for segment in ins.segments] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("tokens", "text", "unit", "delays"),
    [
        (["今", "天"], "今天", "char", (1000, 1000)),
        (["he", " said", " so"], "he said so", "word(pieces)", (1000, 1000, 1000)),
    ],
)
def test_how_tokens_are_joined_follows_from_them(
    tmp_path: Path, tokens: list[str], text: str, unit: str, delays: tuple[float, ...]
) -> None:
    path = write_log(tmp_path / "metrics.jsonl", log(chunk(1.0, 0.1, tokens)))
    (ins,) = read_log(path).instances
    assert (ins.prediction, ins.unit, ins.delays) == (text, unit, delays)


def test_two_recordings_of_one_client_with_references(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_log(tmp_path / "metrics.jsonl", [LOADED, *WORDS, *PIECES[:1], *WORDS[1:]])
    references = tmp_path / "references.txt"
    references.write_text("\ufeffa cat sat down\na cat sat\n", encoding="utf-8")
    assert main([str(tmp_path), "--references", str(references), "--quality", "wer"]) == 0
    out = capsys.readouterr().out
    assert "2 instances, 2 with latency" in out and "LAAL" in out
    scores = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))["scores"]
    assert scores["WER"] == pytest.approx(100 / 7)
    assert scores["compute_RTF"] == pytest.approx(2.1 / 2.5)
    assert not (tmp_path / "scores.tsv").exists()  # SimulEval's
    references.write_text("a cat\n", encoding="utf-8")
    assert main([str(tmp_path), "--references", str(references)]) == 1
    assert "1 references for 2 recordings" in capsys.readouterr().err


def test_without_references_there_is_nothing_that_needs_them(tmp_path: Path) -> None:
    write_log(tmp_path / "metrics.jsonl", WORDS)
    scores = score_folder(tmp_path, options=ScoreOptions(writes_files=False))
    assert scores.values["DAL"] is not None and scores.values["StartOffset_RT"] == 1500
    assert not {"BLEU", "LAAL", "AL", "AP", "YAAL"} & set(scores.values)
    assert "no-references" in {problem.kind for problem in scores.problems}
    assert not scores.has_errors


@pytest.mark.parametrize(
    ("chunks", "kind"),
    [
        ([chunk(1.0, 0.1, ["a"]), chunk(2.0, 0.1, ["b"], ["c"])], "bad-tokens"),
        ([chunk(1.0, 0.1, ["a"], ["a"])], "bad-tokens"),
        ([chunk(1.0, 0.1, ["a"]), chunk(0.5, 0.1, ["b"])], "decreasing-delays"),
        ([chunk(1.0, -0.1, ["a"])], "bad-times"),
        ([chunk(1.7e9, 0.1, ["a"])], "bad-times"),
        ([{**chunk(1.0, 0.1, ["a"]), "generated_tokens": "a"}], "bad-tokens"),
    ],
)
def test_damage(tmp_path: Path, chunks: list[dict[str, Any]], kind: str) -> None:
    path = write_log(tmp_path / "metrics.jsonl", log(*chunks))
    scores = score_folder(path)
    assert kind in {problem.kind for problem in scores.problems if problem.is_error}
    assert scores.counts["latency_instances"] == 0


def test_a_chunk_of_no_recording_is_refused(tmp_path: Path) -> None:
    path = write_log(tmp_path / "metrics.jsonl", WORDS[1:])
    with pytest.raises(DataError, match="line 1: id 7 is of no recording"):
        read_log(path)
    write_log(path, WORDS)
    path.write_bytes(path.read_bytes()[:-9])
    assert "truncated-line" in {problem.kind for problem in read_log(path).problems}
    with pytest.raises(DataError, match="cut short"):
        read_log(path, is_strict=True)
