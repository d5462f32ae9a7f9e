"""Programs that burn a known time, and logs as the rivals write them; the rivals are not needed."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from echostream.constants import SAMPLE_RATE
from echostream.errors import DataError
from eval.rivals.__main__ import main, streams_of
from eval.rivals.programs import text_of_lines, texts_of_log
from tests.eval.corpora import write_corpus

PROGRAM = """
import json, sys, time, wave
with wave.open(sys.argv[1]) as file:
    seconds = file.getnframes() / file.getframerate()
while time.process_time() < 0.3 + 0.5 * seconds:
    pass
print(json.dumps({"text": " it says a", "emission_time": 0.5}))
print(json.dumps({"is_final": True}))
print(json.dumps({"text": " few words."}))
"""


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two recordings and a program, which is named in the environment."""
    text = "It says a few words"
    write_corpus(tmp_path, [(np.zeros(SAMPLE_RATE), text, text)] * 2)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    monkeypatch.setenv("RIVAL", str(program))
    plan = tmp_path / "plan.yaml"
    each = {"name": "it", "segment_s": 0.25, "command": "python ${RIVAL} {audio}"}
    plan.write_text(json.dumps({"python": sys.executable, "programs": [each]}))
    return ["--programs", str(plan), "--data", str(tmp_path), "--join", "1", "--rounds", "1",
        "--output", str(tmp_path / "out")]  # fmt: skip


def test_what_hearing_costs_without_starting_up(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    row = [cell.strip() for cell in capsys.readouterr().out.splitlines()[-1].split("|")]
    assert float(row[3]) == pytest.approx(0.5, rel=0.2)
    assert (row[6], row[7]) == ("1", "100.0")


def test_a_program_that_fails_and_a_variable_that_is_not_set(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "program.py").write_text("raise SystemExit('no such model')")
    assert main(arguments) == 1
    assert "ended with status 1: no such model" in capsys.readouterr().err
    monkeypatch.delenv("RIVAL")
    assert main(arguments) == 1
    assert "${RIVAL}, not set" in capsys.readouterr().err


def test_streams_are_rounded_down() -> None:
    assert [streams_of(compute) for compute in (0.093, 0.7, 0.71, 2.9)] == [7, 1, 0.9, 0.2]


def log(*outputs: tuple[list[str], list[str]]) -> list[str]:
    lines: list[dict[str, object]] = [{"model_loading_time": 1.0}]
    lines += [{"id": 0, "metadata": {"wav_name": "a.wav"}}]
    lines += [
        {"id": 0, "total_audio_processed": 1.0, "generated_tokens": new, "deleted_tokens": gone}
        for new, gone in outputs
    ]
    return [json.dumps(line) for line in lines]


def test_a_log_of_bytes_of_which_some_are_deleted() -> None:
    tokens = log(
        (["ĠIt", "Ġwas", "Ġa"], []), (["Ġsays", "Ġni", "Ã", "±", "o"], ["Ġwas", "Ġa"]), ([], [])
    )
    words = log((["It"], []), (["says", "no."], []))
    assert texts_of_log(tokens) == ["It says niño"]
    assert texts_of_log([*words, *words[1:]]) == ["It says no."] * 2


@pytest.mark.parametrize("lines", [["{"], ["[1]"], log(([], ["It"])), log((["It"], []))[2:]])
def test_a_log_that_cannot_be(lines: list[str]) -> None:
    with pytest.raises(DataError, match="expected a JSON object|of no recording"):
        texts_of_log(lines)


def test_output_of_simulstreaming() -> None:
    lines = ['{"text": " ¿Qu"}', '{"is_final": true}', '{"text": "é? Sí"}']
    assert text_of_lines(lines) == "¿Qué? Sí"
