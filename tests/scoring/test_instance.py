import json
import math
from pathlib import Path
from typing import Any

import pytest

from echostream.errors import DataError
from echostream.scoring.instance import Instance
from echostream.scoring.log import read_instances, read_log
from echostream.scoring.problems import check_instances
from echostream.scoring.readings import Reading, times

from .logs import SOURCE, record, write_log


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


@pytest.mark.fault("F54")
@pytest.mark.parametrize(
    ("changes", "expected", "kind"),
    [
        ({"index": None}, "lacks index", "unusable-line"),
        ({"delays": None, "reference": None}, "lacks delays, reference", "unusable-line"),
        ({"source_length": None}, "lacks source_length", "unusable-line"),
        ({"index": "0"}, "index is '0'", "unusable-line"),
        ({"index": True}, "index is True", "unusable-line"),
        ({"index": -1}, "index is -1", "unusable-line"),
        ({"prediction": 3}, "prediction is 3", "unusable-line"),
        ({"reference": ["one"]}, "reference is", "unusable-line"),
        ({"durations": [300, 300, 300]}, "speech output", "unusable-line"),
        (
            {"source": "a b c d", "source_length": 4, "elapsed": [0, 0, 0]},
            "text source",
            "unusable-line",
        ),
        ({"delays": 320}, "delays is 320", "bad-times"),
        ({"delays": [320, math.nan, 640]}, "delays of word 2 is nan", "bad-times"),
        ({"delays": [-1, 640, 640]}, "delays of word 1 is -1", "bad-times"),
        ({"delays": [320, "640", 640]}, "delays of word 2 is '640'", "bad-times"),
        ({"delays": [320, 640, 10**400]}, "delays of word 3 is inf", "bad-times"),
        ({"delays": [320, 640, 1.7e12]}, "delays of word 3 is 1.7e+12", "bad-times"),
        ({"delays": [320, 960, 640]}, "decrease at word 3, 640 ms after 960", "decreasing-delays"),
        ({"delays": [320, 640]}, "2 delays for 3 words", "count-mismatch"),
        ({"prediction_length": 5}, "a prediction_length of 5", "count-mismatch"),
        ({"prediction_spm": ["a"] * 5}, "3 delays for 5 pieces", "count-mismatch"),
        ({"elapsed": [320, math.nan, 640]}, "elapsed of word 2 is nan", "bad-elapsed"),
        ({"elapsed": [330, 660]}, "2 elapsed times for 3 words", "bad-elapsed"),
        ({"source_length": -5}, "source_length is -5", "bad-source-length"),
        # nothing is wrong with the line as such
        ({"elapsed": [300, 640, 1000]}, "", "elapsed-below-delay"),
        ({"source_length": 900}, "", "delay-after-end"),
    ],
)
def test_a_planted_fault_is_flagged_and_refused_by_line(
    tmp_path: Path, changes: dict[str, Any], expected: str, kind: str
) -> None:
    lines = [record(index=5), record(**{"index": 6, **changes})]
    path = write_log(tmp_path / "instances.log", lines)
    if expected:
        message = refusal(path)
        assert "line 2" in message and expected in message
    log = read_log(path)
    problems = [*log.problems, *check_instances(log.instances)]
    assert {problem.kind for problem in problems if problem.is_error} == {kind}
    # Its text still counts, unless the line is no instance.
    assert len(log.instances) == (1 if kind == "unusable-line" else 2)
    keeps_delays = kind in ("bad-elapsed", "elapsed-below-delay", "delay-after-end")
    assert bool(log.instances[-1].delays) is (keeps_delays or kind == "unusable-line")


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
