"""Recording: what it costs, and what is left of a crash."""

from pathlib import Path
from typing import Any

import pytest

from tests.flight.conftest import lines, make_agent, replay, send
from tests.small_system import audio


def test_recording_changes_nothing_and_costs_the_same_for_every_segment(
    checkpoint: Path, tmp_path: Path
) -> None:
    samples = audio(4.0)
    plain = send(make_agent(checkpoint), samples, 1600)
    record = tmp_path / "record"
    assert send(make_agent(checkpoint, record=str(record)), samples, 1600) == plain
    sizes = [len(line) for line in record.read_text().splitlines()[2:-1]]
    assert max(sizes) < 3000
    assert max(sizes[len(sizes) // 2 :]) < 2 * max(sizes[: len(sizes) // 2])


def test_a_crash_in_the_translator_is_the_last_line(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    record = tmp_path / "record"
    agent = make_agent(checkpoint, record=str(record), record_audio=True)
    send(agent, audio(0.5), 4000)
    agent.reset()
    broken = "the encoder broke"

    def step(*_: object, **__: object) -> None:
        raise ZeroDivisionError(broken)

    with monkeypatch.context() as patch:
        patch.setattr(agent.translator, "step", step)
        with pytest.raises(ZeroDivisionError):
            send(agent, audio(0.5), 4000)
    last = lines(record)[-1]
    assert last["error"] == {"kind": "ZeroDivisionError", "message": broken}
    assert replay(record) == 1  # it works here
    assert "stream 1, segment 0: error" in capsys.readouterr().out
