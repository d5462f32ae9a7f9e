"""Damaged logs: what is whole is scored, and no figure is wrong without a word."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.errors import DataError
from echostream.scoring.folder import ScoreOptions, score_folder
from echostream.scoring.instance import Instance
from echostream.scoring.log import read_instances, read_log
from echostream.scoring.scores import score_instances

from .logs import as_record, corpora, record, write_log

GOLDEN = Path(__file__).with_name("golden")


def read(folder: Path, *lines: str | dict[str, Any], **options: Any) -> tuple[list[int], set[str]]:
    """Indices of the instances with latency, and kinds of the problems of a log of these lines."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / "instances.log").write_text("\n".join(texts) + "\n", encoding="utf-8")
    log = read_log(folder, **options)
    with_latency = [ins.index for ins in log.instances if ins.delays]
    found = [*log.problems, *score_instances(log.instances).problems]
    return with_latency, {problem.kind for problem in found if problem.is_error}


def test_lines_that_cannot_be_used_are_left_out(tmp_path: Path) -> None:
    good = [record(index=index) for index in range(3)]
    assert read(tmp_path, *good) == ([0, 1, 2], set())
    assert read(tmp_path, good[0], "{", "[1]", good[1]) == ([0, 1], {"unusable-line"})
    no_reference = record(index=1, reference=None)
    assert read(tmp_path, good[0], no_reference) == ([0], {"unusable-line"})
    speech = record(index=1, durations=[1, 2, 3])
    assert read(tmp_path, good[0], speech, good[2]) == ([0, 2], {"unusable-line", "index-gap"})


@pytest.mark.fault("F54")
def test_the_last_of_two_lines_counts(tmp_path: Path) -> None:
    first, second = record(prediction="a b c"), record(prediction="d e f")
    assert read(tmp_path, first, record(index=1), second) == ([0, 1], {"duplicate-index"})
    log = read_log(tmp_path)
    assert [ins.prediction for ins in log.instances] == ["d e f", "one two three"]
    with pytest.raises(DataError, match="line 3: index 0 was there before"):
        read_instances(tmp_path)


def test_number_of_instances(tmp_path: Path) -> None:
    lines = [record(index=index) for index in (0, 1, 3)]
    assert read(tmp_path, *lines[:2])[1] == set()
    assert read(tmp_path, *lines[:2], expected=2)[1] == set()
    assert read(tmp_path, *lines[:2], expected=4)[1] == {"missing-line"}
    assert read(tmp_path, *lines, expected=4)[1] == {"missing-line", "index-gap"}
    assert read(tmp_path, *lines, expected=2)[1] == {"unknown-index", "index-gap"}
    # SimulEval's table of instances says it too
    for rows, kinds in ((2, set()), (3, {"missing-line"}), (1, {"missing-line"})):
        (tmp_path / "metrics.tsv").write_text("AL\tAP\n" + "\t\n" * rows, encoding="utf-8")
        assert read(tmp_path, *lines[:2])[1] == kinds
    known = {problem.kind for problem in read_log(tmp_path, expected=2).problems}
    assert "unknown-length" not in known
    for text in ("\n\n\n", ""):
        (tmp_path / "metrics.tsv").write_text(text, encoding="utf-8")
        assert [problem.kind for problem in read_log(tmp_path).problems] == ["unknown-length"]


def test_nothing_to_score(tmp_path: Path) -> None:
    for nothing in (tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match="No such file"):
            read_log(nothing)
    for text, part in (("", "holds no instances"), ("[]\n{", "line 1")):
        (tmp_path / "instances.log").write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=part) as caught:
            read_log(tmp_path)
        assert "\n" not in str(caught.value)


def test_one_unknown_word_end_refuses_latency_for_all(tmp_path: Path) -> None:
    # two words in two pieces leave no choice
    whole = record(prediction=" one two", delays=[320, 640], elapsed=[330, 650], metric={})
    assert read(tmp_path, whole) == ([0], set())
    times = {"delays": [320, 640, 1000], "elapsed": [330, 650, 1020]}
    unknown = {**whole, **times, "index": 1, "prediction_length": 3}
    assert read(tmp_path, whole, unknown) == ([], {"unknown-pieces"})
    # EchoStream's words run by the fork: "onetwo", and nothing of it can be scored
    joined = {**whole, "prediction": "onetwo", "index": 1}
    assert read(tmp_path, whole, joined) == ([], {"joined-words"})


@pytest.mark.parametrize("is_stated", [True, False], ids=["--num-instances", "alone"])
@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.iterdir()))
def test_cut_anywhere_there_is_no_wrong_figure_without_a_word(
    tmp_path: Path, name: str, is_stated: bool
) -> None:
    log = tmp_path / "instances.log"
    content = (GOLDEN / name / "instances.log").read_bytes()
    options = ScoreOptions(expected=4 if is_stated else None)
    log.write_bytes(content)
    whole = score_folder(tmp_path, 320, options)
    line_ends = [position + 1 for position, byte in enumerate(content) if byte == 10]
    cuts = {*range(0, len(content), 131)}
    for end in line_ends:
        cuts |= {end - 2, end - 1, end, end + 1, end + 2}
    for cut in sorted(cuts):
        log.write_bytes(content[:cut])
        try:
            scores = score_folder(tmp_path, 320, options)
        except DataError:
            continue
        kinds = {problem.kind for problem in scores.problems if problem.is_error}
        damage = kinds - {"unknown-pieces"}  # which is there in the whole log too
        if cut < len(content) - 1 and (
            is_stated or cut not in line_ends and cut + 1 not in line_ends
        ):
            assert damage, cut
        elif not damage and scores.values != whole.values:
            # cut at the end of a line: nothing tells, and that is said
            assert "unknown-length" in {problem.kind for problem in scores.problems}, cut


@settings(deadline=None, max_examples=60)
@given(corpus=corpora(), data=st.data())
def test_any_change_of_a_byte_is_refused_flagged_or_read(
    corpus: list[Instance], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Reading never fails in another way, and the strict reader accepts what has no problem."""
    folder = tmp_path_factory.mktemp("log")
    path = write_log(folder / "instances.log", map(as_record, corpus))
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] = data.draw(st.sampled_from(b' "\n\\{}[]0-9,.x\xff'))
    path.write_bytes(content)
    try:
        log = read_log(folder)
    except DataError:
        with pytest.raises(DataError):
            read_instances(path)
        return
    faults = [fault for ins in log.instances for fault in ins.faults]
    kinds = {problem.kind for problem in log.problems} - {"unknown-length"}
    if kinds or faults:
        with pytest.raises(DataError):
            read_instances(path)
    else:
        assert read_instances(path) == list(log.instances)
    score_instances(log.instances)
