"""Whole folders as SimulEval leaves them: its release run here, logs of its main and release."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from echostream.scoring.instance import read_instances
from echostream.scoring.report import score_folder

from .simuleval_run import REFERENCES, SECONDS, run_simuleval

GOLDEN = Path(__file__).with_name("golden")


def columns(text: str) -> dict[str, float]:
    header, row = text.splitlines()
    return dict(zip(header.split("\t"), map(float, row.split("\t")), strict=True))


@pytest.fixture
def simuleval() -> None:
    for module in ("simuleval", "requests", "tornado"):  # the release cannot be imported without
        pytest.importorskip(module)


def test_the_table_of_main_is_reproduced_to_the_byte(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(GOLDEN / "simuleval-main", tmp_path / "out"))
    expected = (folder / "scores.tsv").read_bytes()
    scores = score_folder(folder)
    assert (folder / "scores.tsv").read_bytes() == expected
    assert scores.notes == ()
    assert scores.earlier is None


def test_the_plain_columns_of_the_release_are_put_right(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(GOLDEN / "simuleval-1.1.4", tmp_path / "out"))
    wrong_text = (folder / "scores.tsv").read_text(encoding="utf-8")
    wrong = columns(wrong_text)
    scores = score_folder(folder)
    right = columns((folder / "scores.tsv").read_text(encoding="utf-8"))
    # The ideal figures of the same script are the same in every version ...
    main = columns((GOLDEN / "simuleval-main" / "scores.tsv").read_text(encoding="utf-8"))
    for name in ("BLEU", "LAAL", "AL", "AP", "DAL", "ATD"):
        assert right[name] == main[name]
    # ... and what the release computed with elapsed times is right where it belongs.
    for name in ("LAAL", "AL", "AP", "DAL", "ATD"):
        assert wrong[name] == wrong[f"{name}_CA"] == right[f"{name}_CA"] != right[name]
    assert len(scores.notes) == 1
    assert "SimulEval 1.1.4" in scores.notes[0]
    assert "AL 487.574 -> 475.444" in scores.notes[0]
    assert scores.earlier == wrong_text


def test_a_plain_run_of_the_release_is_confirmed(tmp_path: Path, simuleval: None) -> None:
    folder = run_simuleval(tmp_path)
    theirs = columns((folder / "scores.tsv").read_text(encoding="utf-8"))
    scores = score_folder(folder)
    ours = columns(scores.table())
    assert theirs == {name: ours[name] for name in theirs}
    assert list(theirs) == ["BLEU", "LAAL", "AL", "AP", "DAL", "ATD"]
    assert scores.notes == ()


def test_a_computation_aware_run_of_the_release(tmp_path: Path, simuleval: None) -> None:
    folder = run_simuleval(tmp_path, "--computation-aware")
    instances = read_instances(folder / "instances.log")
    assert [ins.reference for ins in instances] == list(REFERENCES)
    assert [ins.source_length for ins in instances] == [1000 * length for length in SECONDS]
    assert [ins.source_file for ins in instances] == ["0.wav", "1.wav", "2.wav", "3.wav"]
    theirs = columns((folder / "scores.tsv").read_text(encoding="utf-8"))
    scores = score_folder(folder)
    ours = columns(scores.table())
    assert list(ours) == list(theirs)
    for name in ("LAAL", "AL", "AP", "DAL", "ATD"):
        assert ours[f"{name}_CA"] == theirs[f"{name}_CA"]
    assert len(scores.notes) == (theirs["AL"] == theirs["AL_CA"])  # a later release may be right
