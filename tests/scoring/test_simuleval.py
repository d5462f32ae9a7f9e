"""Whole folders as SimulEval leaves them: its release run here, logs of its main and release."""

import shutil
from pathlib import Path

import pytest

from echostream.scoring import folder as folder_module
from echostream.scoring.folder import ScoreOptions, format_scores, score_folder
from echostream.scoring.log import read_instances

from .simuleval_run import REFERENCES, SCRIPTS, SECONDS, run_simuleval

GOLDEN = Path(__file__).with_name("golden")


def columns(text: str) -> dict[str, float]:
    header, row = text.splitlines()
    return dict(zip(header.split("\t"), map(float, row.split("\t")), strict=True))


@pytest.fixture
def simuleval() -> None:
    for module in ("simuleval", "requests", "tornado"):  # the release cannot be imported without
        pytest.importorskip(module)


def copied(name: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN / name, tmp_path / name))


def test_the_table_of_main_is_reproduced_to_the_byte(tmp_path: Path) -> None:
    folder = copied("simuleval-main", tmp_path)
    expected = (folder / "scores.tsv").read_bytes()
    scores = score_folder(folder)
    assert (folder / "scores.tsv").read_bytes() == expected
    assert scores.notes == ()


@pytest.mark.fault("F55")
def test_the_plain_columns_of_the_release_are_put_right(tmp_path: Path) -> None:
    folder = copied("simuleval-1.1.4", tmp_path)
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
    (note,) = scores.notes
    assert "SimulEval 1.1.4" in note and "AL 487.574 -> 475.444" in note
    assert note in format_scores(scores, "run")
    assert scores.earlier == wrong_text


def test_speech_of_all_tools_is_scored_the_same(tmp_path: Path) -> None:
    # Worked out by hand: first utterance: played 320-520, 640-1340, 1340-1440, 1700-2350 of 1700:
    # silences 120 and 260; third: 640-1640, 1640-1890, 1890-2190 of 1330; fourth: 900-1350 of 900.
    expected = {
        "StartOffset": (320 + 640 + 900) / 3,
        "EndOffset": (650 + 860 + 450) / 3,
        "EndRatio": (2350 / 1700 + 2190 / 1330 + 1350 / 900) / 3,
        "NumWrites": (4 + 3 + 1) / 3,
        "DiscontinuitySum": (380 + 0 + 0) / 3,
        "DiscontinuityAve": (190 + 0 + 0) / 3,
        "DiscontinuityNum": (2 + 0 + 0) / 3,
        "ATD": 773.194,  # as StreamSpeech's fork prints it, which scores the run and not the log
    }
    for name in ("simuleval-1.1.4-speech", "simuleval-main-speech", "streamspeech-speech"):
        scores = score_folder(copied(name, tmp_path))
        assert scores.values == pytest.approx(expected, abs=5e-4)
        assert [problem.kind for problem in scores.problems] == ["empty-prediction"]


def test_words_of_streamspeech_need_its_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied("streamspeech", tmp_path)
    scores = score_folder(folder)
    bleu = columns((folder / "scores.tsv").read_text(encoding="utf-8"))["BLEU"]
    assert scores.values["BLEU"] == pytest.approx(bleu, abs=5e-4)
    assert all(scores.values[name] is None for name in ("AL", "LAAL_CA", "NumChunks", "ATD_RT"))
    assert [problem.kind for problem in scores.problems if problem.is_error] == ["unknown-pieces"]
    # With the pieces that the agent wrote.
    pieces = {}
    for writes, last in SCRIPTS["pieces"]:
        said = " ".join([*(writes[number] for number in sorted(writes)), last]).split()
        pieces["".join(said).replace("\u2581", " ")] = said
    monkeypatch.setattr(folder_module, "load_tokenizer", lambda path: pieces.__getitem__)
    scores = score_folder(folder, options=ScoreOptions(spm_model="target.model"))
    assert not scores.has_errors
    # The words end at 320 640 1280 1700 1700 1700, 640 640 960 960 1330 and 900 (four), with
    # references of 6, 4 and 5 words; steps 1700/6, 1330/5 (LAAL; AL 1330/4), 900/5.
    laal = (
        (320 + 640 + 1280 + 1700 - 6 * 1700 / 6) / 4,
        (640 + 640 + 960 + 960 + 1330 - 10 * 1330 / 5) / 5,
        900,
    )
    al = (laal[0], (4530 - 10 * 1330 / 4) / 5, 900)
    assert scores.values["LAAL"] == pytest.approx(sum(laal) / 3)
    assert scores.values["AL"] == pytest.approx(sum(al) / 3)
    assert scores.values["NumChunks"] == 5


def test_a_plain_run_of_the_release_is_confirmed(tmp_path: Path, simuleval: None) -> None:
    folder = run_simuleval(tmp_path)
    theirs = columns((folder / "scores.tsv").read_text(encoding="utf-8"))
    scores = score_folder(folder)
    ours = columns(scores.table())
    assert theirs == {name: ours[name] for name in theirs}
    assert list(theirs) == ["BLEU", "LAAL", "AL", "AP", "DAL", "ATD"]
    assert scores.notes == ()
    # The policy of the test writes at odd times.
    assert {problem.kind for problem in scores.problems if not problem.is_error} == {
        "empty-prediction",
        "likely-degenerate-policy",
    }
    assert not scores.has_errors


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
    (note,) = scores.notes
    assert all(f" {name} " in note for name in ("LAAL", "AL", "AP", "DAL", "ATD"))
