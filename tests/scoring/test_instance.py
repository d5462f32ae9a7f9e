from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from echostream.errors import DataError
from echostream.scoring.instance import Instance
from echostream.scoring.log import read_instances
from echostream.scoring.readings import Reading, times

from .logs import SOURCE, as_record, corpora, record, write_log


def refusal(path: Path) -> str:
    """The message with which the log is refused; one line, names the file."""
    with pytest.raises(DataError) as caught:
        read_instances(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_a_line_is_read_as_it_is(tmp_path: Path) -> None:
    path = write_log(tmp_path / "instances.log", [record(index=7)])
    assert read_instances(path) == [
        Instance(
            index=7,
            prediction="one two three",
            reference="one two three four",
            delays=(320.0, 640.0, 1000.0),
            elapsed=(330.0, 660.0, 1030.0),
            source_length=1000.0,
            source="\n".join(SOURCE),
        )
    ]


def test_blank_lines_are_passed_over_and_indices_rise(tmp_path: Path) -> None:
    path = tmp_path / "instances.log"
    lines = [json.dumps(record(index=index)) for index in (4, 2)]
    path.write_text("\n" + "\r\n  \n".join(lines), encoding="utf-8")  # the last without line end
    assert [ins.index for ins in read_instances(path)] == [2, 4]


@settings(deadline=None)
@given(corpus=corpora())
def test_what_simuleval_can_write_is_read_back(
    corpus: list[Instance], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("log") / "instances.log"
    write_log(path, map(as_record, corpus))
    for read, written in zip(read_instances(path), corpus, strict=True):
        assert read.source_file == SOURCE[0]
        assert (read.delays, read.elapsed) == (written.delays, written.elapsed)
        assert (read.prediction, read.reference_length) == (
            written.prediction,
            written.reference_length,
        )


@pytest.mark.parametrize(
    "changes",
    [{"elapsed": None}, {"elapsed": []}, {"elapsed": [0, 0, 0]}],
    ids=["no key", "empty", "zeros"],
)
def test_elapsed_times_may_be_missing(tmp_path: Path, changes: dict[str, Any]) -> None:
    (ins,) = read_instances(write_log(tmp_path / "instances.log", [record(**changes)]))
    assert ins.elapsed == ()
    assert times(ins, Reading.COMPUTATION_AWARE) == times(ins, Reading.REAL_TIME) == ()
    assert times(ins, Reading.IDEAL) == (320.0, 640.0, 1000.0)


@pytest.mark.parametrize(
    ("reference", "length"),
    [("one", 1), ("", 1), ("one two", 2), ("one  two", 2), ("one\u00a0two", 2), ("one\ttwo ", 2)],
)
def test_reference_length_is_the_number_of_words(
    reference: str, length: int, tmp_path: Path
) -> None:
    path = write_log(tmp_path / "instances.log", [record(reference=reference)])
    assert read_instances(path)[0].reference_length == length


@pytest.mark.fault("F54")
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"index": None}, "lacks index"),
        ({"delays": None, "reference": None}, "lacks delays, reference"),
        ({"source_length": None}, "lacks source_length"),
        ({"index": "0"}, "index is '0'"),
        ({"index": True}, "index is True"),
        ({"index": -1}, "index is -1"),
        ({"index": 1.0}, "index is 1.0"),
        ({"prediction": 3}, "prediction is 3"),
        ({"reference": ["one"]}, "reference is"),
        ({"delays": 320}, "delays is 320"),
        ({"delays": [320, float("nan"), 640]}, "delays of word 2 is nan"),
        ({"delays": [320, 640, float("inf")]}, "delays of word 3 is inf"),
        ({"delays": [-1, 640, 640]}, "delays of word 1 is -1"),
        ({"delays": [320, "640", 640]}, "delays of word 2 is '640'"),
        ({"delays": [320, 640, 10**400]}, "delays of word 3 is inf"),
        ({"elapsed": [320, float("nan"), 640]}, "elapsed of word 2 is nan"),
        ({"delays": [320, 960, 640]}, "decrease at word 3, 640 ms after 960 ms"),
        ({"delays": [320, 640]}, "2 delays for 3 words"),
        ({"prediction": ""}, "3 delays for 0 words"),
        ({"elapsed": [330, 660]}, "2 elapsed times for 3 words"),
        ({"source_length": -5}, "source_length is -5"),
        ({"source_length": float("nan")}, "source_length is nan"),
        ({"durations": [300, 300, 300]}, "speech output"),
        ({"source": "a b c d", "source_length": 4, "elapsed": [0, 0, 0]}, "text source"),
    ],
)
def test_planted_faults_are_refused_by_line(
    tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    good = record(index=5)
    path = write_log(tmp_path / "instances.log", [good, record(**changes)])
    message = refusal(path)
    assert "line 2" in message
    assert expected in message


@pytest.mark.fault("F54")
def test_duplicate_index(tmp_path: Path) -> None:
    path = write_log(tmp_path / "instances.log", [record(index=i) for i in (0, 1, 0)])
    assert "line 3: index 0 was there before" in refusal(path)


@pytest.mark.fault("F54")
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"index": 0,\n{}\n', "line 1: is not JSON"),
        *((line, "line 1: is a JSON") for line in (b"[1, 2]\n", b"3\n", b"null\n", b'"text"\n')),
        (b'{"index": "\xff"}\n', "line 1: is not JSON"),
        (b"[" * 100_000 + b"\n", "line 1"),
        (b"\n", "holds no instances"),
    ],
)
def test_lines_that_are_no_object(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "instances.log"
    path.write_bytes(content)
    assert told in refusal(path)


@pytest.mark.fault("F54")
@pytest.mark.parametrize("cut", [1, 20, 150])
def test_truncated_last_line(tmp_path: Path, cut: int) -> None:
    path = write_log(tmp_path / "instances.log", [record(index=0), record(index=1)])
    path.write_bytes(path.read_bytes()[: -1 - cut])
    message = refusal(path)
    assert "line 2: the last line is cut short" in message
    assert "--continue-unfinished" in message


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "instances.log")
    assert "No such file" in refusal(tmp_path)


def test_pieces_in_the_log_are_timed_as_words(tmp_path: Path) -> None:
    # SimulEval's unit spm: a delay per piece. "cat" is whole with its second piece.
    line = record(
        prediction="the cat sat.",
        prediction_spm=["\u2581the", "\u2581c", "at", "\u2581sat", "."],
        delays=[320.0, 320.0, 640.0, 640.0, 1000.0],
        elapsed=[330.0, 330.0, 660.0, 660.0, 1030.0],
    )
    (ins,) = read_instances(write_log(tmp_path / "instances.log", [line]))
    assert ins.prediction == "the cat sat."
    assert ins.delays == (320.0, 640.0, 1000.0)
    assert ins.elapsed == (330.0, 660.0, 1030.0)
    write_log(
        tmp_path / "instances.log", [{**line, "delays": [320.0, 640.0], "prediction_length": 2}]
    )
    assert "2 delays for 5 pieces" in refusal(tmp_path / "instances.log")


def test_characters(tmp_path: Path) -> None:
    lines = [
        record(prediction="abc", reference=" ab c "),
        record(index=1, prediction="", delays=[], elapsed=[]),
        record(index=2, prediction="a", delays=[320.0], elapsed=[330.0]),
    ]
    path = write_log(tmp_path / "instances.log", lines)
    found = read_instances(path)
    assert {ins.unit for ins in found} == {"char"}
    assert found[0].delays == (320.0, 640.0, 1000.0)
    assert found[0].reference_length == 3  # white space is none, as in the prediction
    # one line that cannot be characters makes it a log of words, in which the first has a fault
    write_log(path, [*lines, record(index=3)])
    assert "3 delays for 1 words" in refusal(path)
    # and words of one character each are words
    write_log(path, [lines[2]])
    assert [ins.unit for ins in read_instances(path)] == ["word"]
