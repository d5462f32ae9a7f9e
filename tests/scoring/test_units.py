"""What has a delay in a log is found out from its lists, said in the signature, and scored so.

Pieces of words are joined, and a word is there with its last piece.
"""

import os
from pathlib import Path
from typing import Any

import pytest
import sentencepiece

from echostream.commands.score import main
from echostream.errors import DataError
from echostream.scoring.folder import ScoreOptions, score_folder
from echostream.scoring.intervals import paired_tests
from echostream.scoring.log import read_instances, read_log
from echostream.scoring.quality import QUALITY_NAMES, QualityOptions, bleu
from echostream.scoring.scores import Scores
from echostream.scoring.units import (
    join_pieces,
    load_tokenizer,
    tokenized_ends,
    word_ends,
)

from .logs import record, write_log

SPM = "\u2581"


def score(folder: Path, *lines: dict[str, Any], **options: Any) -> Scores:
    write_log(folder / "instances.log", lines)
    return score_folder(folder, 320, ScoreOptions(writes_files=False, **options))


def kinds(scores: Scores) -> set[str]:
    return {problem.kind for problem in scores.problems}


@pytest.mark.parametrize(
    ("prediction", "pieces", "delays", "reference", "unit", "text", "times"),
    [
        # whole words without marks, in a language with spaces
        ("acat", ["a", "cat"], [320, 640], "a cat", "word(whole pieces)", "a cat", (320, 640)),
        (
            "a cat",
            [SPM + "a", SPM + "c", "at"],
            [1, 2, 3],
            "a cat",
            "word(pieces)",
            "a cat",
            (1, 3),
        ),
        # a language without spaces: a character is there with its piece, marked or not
        (
            "今天好",
            ["今天", "好"],
            [320, 640],
            "今天很好",
            "char(pieces)",
            "今天好",
            (320, 320, 640),
        ),
        ("今天好", [SPM, "今天", "好"], [1, 2, 3], "今天很好", "char(pieces)", "今天好", (2, 2, 3)),
        ("今天好", None, [320, 320, 640], "今天很好", "char", "今天好", (320, 320, 640)),
        # characters of a language with another space than SimulEval takes away
        ("5\u00a0m", None, [1, 1, 2], "5\u00a0m", "char", "5\u00a0m", (1, 1, 2)),
        ("a cat", None, [320, 640], "a cat", "word", "a cat", (320, 640)),
    ],
)
def test_the_unit_of_a_log(
    tmp_path: Path,
    prediction: str,
    pieces: list[str] | None,
    delays: list[float],
    reference: str,
    unit: str,
    text: str,
    times: tuple[float, ...],
) -> None:
    line = record(
        prediction=prediction,
        prediction_spm=pieces,
        delays=delays,
        elapsed=None,
        reference=reference,
    )
    scores = score(tmp_path, line, {**line, "index": 1})
    (ins, _) = read_instances(tmp_path / "instances.log")
    assert (ins.prediction, ins.delays) == (text, times)
    assert ins.reference_length == (2 if "word" in unit else len("".join(reference.split())))
    for figure in scores.figures:
        if figure.name.startswith("LAAL"):
            assert f"|unit:{unit}|" in figure.signature
    assert ("unmarked-pieces" in kinds(scores)) is (unit == "word(whole pieces)")


def test_one_damaged_line_does_not_change_the_unit_of_the_others(tmp_path: Path) -> None:
    lines = [record(index=i, prediction="abc", reference="abcd") for i in range(3)]
    lines[1] = {**lines[1], "delays": [320.0], "elapsed": [330.0], "prediction_length": 1}
    scores = score(tmp_path, *lines)
    assert scores.counts["latency_instances"] == 2
    assert "count-mismatch" in kinds(scores)


def test_characters_of_a_language_with_spaces(tmp_path: Path) -> None:
    # What SimulEval logs with --eval-latency-unit char: the spaces are lost.
    delays = [320.0] * 3 + [640.0] * 6
    line = record(prediction="thecatsat", delays=delays, elapsed=delays, reference="the cat sat")
    options = QualityOptions(QUALITY_NAMES)
    scores = score(tmp_path, line, {**line, "index": 1}, quality=options, num_resamples=100)
    assert scores.values["BLEU"] == pytest.approx(100)
    assert (scores.values["CER"], scores.values["WER"]) == (0, None)
    signatures = {figure.name: figure.signature for figure in scores.figures}
    assert "|tok:char|" in signatures["BLEU"] and "|text:unspaced" in signatures["BLEU"]
    # 9 characters and no 11th: the step is 1000 / 9
    assert scores.values["LAAL"] == pytest.approx(
        sum(d - i * 1000 / 9 for i, d in enumerate(delays)) / 9
    )
    assert "lost-spaces" in kinds(scores) and not scores.has_errors


def test_words_of_a_language_without_spaces_are_called_that(tmp_path: Path) -> None:
    line = record(prediction="今天 很好", delays=[1, 2], elapsed=None, reference="今天" * 11)
    assert "unspaced-references" in kinds(score(tmp_path, line))
    assert "unspaced-references" not in kinds(score(tmp_path, record()))


@pytest.mark.parametrize("space", ["\t", "\u00a0", "\u3000", "  ", "\u2028"])
def test_white_space_is_the_same_everywhere(tmp_path: Path, space: str) -> None:
    lines = [record(index=i, reference=f"one{space}two three") for i in range(2)]
    options = QualityOptions(QUALITY_NAMES)
    scores = score(tmp_path, *lines, quality=options, num_resamples=100)
    assert (scores.values["WER"], scores.values["CER"]) == (0, 0)
    plain = [{**line, "reference": "one two three"} for line in lines]
    assert score(tmp_path, *plain, quality=options, num_resamples=100).values == scores.values
    runs = {"a": read_log(write_log(tmp_path / "x.log", lines)).instances}
    runs["b"] = read_log(write_log(tmp_path / "y.log", plain)).instances
    assert {test.difference.value for test in paired_tests(runs)["b"].values()} == {0}


def test_a_recording_that_is_no_sentence_is_called_that(tmp_path: Path) -> None:
    delays = [320.0, 640.0, 3_600_000.0]
    hour = record(source_length=3_600_000.0, delays=delays, elapsed=delays)
    scores = score(tmp_path, hour, record(index=1))
    (found,) = [problem for problem in scores.problems if problem.kind == "long-recording"]
    assert found.indices == (0,)
    assert not scores.has_errors
    assert "long-recording" not in kinds(score(tmp_path, record()))


class Unloadable:
    error: BaseException = RuntimeError()

    def __init__(self, **options: object) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("name", "error", "expected"),
    [
        ("ja-mecab", RuntimeError("\nJapanese needs more.\n\n  x\n"), "'sacrebleu[ja]'"),
        ("ko-mecab", ImportError("MeCab"), "'sacrebleu[ko]'"),
        ("flores200", OSError("<urlopen error>"), "a connection"),
        ("spm", SystemExit(1), "a connection"),
    ],
)
def test_a_tokenizer_that_cannot_be_loaded_is_one_line(
    tmp_path: Path,
    name: str,
    error: BaseException,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Unloadable, "error", error)
    monkeypatch.setattr(Unloadable, "TOKENIZERS", [name], raising=False)
    monkeypatch.setattr("echostream.scoring.quality.BLEU", Unloadable)
    write_log(tmp_path / "instances.log", [record()])
    with pytest.raises(DataError, match="cannot be loaded"):
        bleu(["a"], ["a"], name)
    arguments = [str(tmp_path), "--print-only", "--tokenizer", name]
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and expected in err
    assert main([*arguments, "--quality", "chrf"]) == 0


def test_a_byte_order_mark_is_no_part_of_a_log(tmp_path: Path) -> None:
    path = write_log(tmp_path / "instances.log", [record()])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read_instances(path)) == 1


def test_a_file_is_scored_as_its_folder_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_log(tmp_path / "instances.log", [record()])
    assert main([str(path), "--json"]) == main([str(tmp_path), "--json"]) == 0
    of_file, of_folder = capsys.readouterr().out.splitlines()
    assert of_file.replace("/instances.log", "") == of_folder
    assert (tmp_path / "scores.tsv").exists()
    # beside a file of another name nothing is written
    (tmp_path / "other").mkdir()
    other = write_log(tmp_path / "other" / "run.log", [record()])
    assert main([str(other)]) == 0
    assert list(other.parent.iterdir()) == [other]
    assert main([str(tmp_path / "none.log")]) == 1
    assert "none.log" in capsys.readouterr().err


def test_logs_may_come_from_pipes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Which can be read once."""
    log = write_log(tmp_path / "log", [record(index=index) for index in range(3)])
    pipes = [os.pipe() for _ in range(2)]
    for _, end in pipes:
        os.write(end, log.read_bytes())
        os.close(end)
    assert main([*(f"/dev/fd/{begin}" for begin, _ in pipes), "--intervals", "100"]) == 0
    for begin, _ in pipes:
        os.close(begin)
    assert "3 instances" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("pieces", "text", "ends"),
    [
        ([], "", []),
        (["▁the", "▁c", "at"], "the cat", [0, 2]),
        (["th", "e", "▁cat"], "the cat", [1, 2]),
        (["▁", "the", "▁", "c", "at"], "the cat", [1, 4]),
        (["▁the", "▁cat", "▁"], "the cat", [0, 1]),
        (["▁", "▁"], "", []),
        # a piece that ends a word and begins the next, and one of two whole words
        (["▁of▁th", "e▁", "▁cat"], "of the cat", [0, 1, 2]),
        (["▁of▁the", "re"], "of there", [0, 1]),
    ],
)
def test_word_ends(pieces: list[str], text: str, ends: list[int]) -> None:
    assert join_pieces(pieces) == text
    assert word_ends(pieces) == ends


def test_tokenized_ends_must_fit() -> None:
    def tokenize(text: str) -> list[str]:
        return ["▁a", "b", "▁c"]

    assert tokenized_ends(" ab c", 3, tokenize) == [1, 2]
    assert tokenized_ends(" ab c", 4, tokenize) is None
    assert tokenized_ends(" abc", 3, tokenize) is None


def test_a_real_vocabulary(tmp_path: Path) -> None:
    sentences = iter(["the cat sat on the mat", "a cat and a dog sat there"] * 20)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=sentences,
        model_prefix=str(tmp_path / "tiny"),
        vocab_size=18,
        minloglevel=2,
    )
    tokenize = load_tokenizer(tmp_path / "tiny.model")
    pieces = tokenize(" the dog sat")
    assert len(pieces) > 3
    assert tokenized_ends(" the dog sat", len(pieces), tokenize) == word_ends(pieces)


def test_a_vocabulary_that_cannot_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "bad.model").write_bytes(b"no model")
    for name in ("bad.model", "none.model"):
        with pytest.raises(DataError, match=f"{name}: cannot be loaded"):
            load_tokenizer(tmp_path / name)
