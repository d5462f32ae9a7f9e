"""Recording: what it costs, and what happens when it cannot go on."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from echostream.errors import ConfigError
from echostream.hosts.options import HostOptions
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


def test_a_full_disk_ends_the_record_and_not_the_translation(
    checkpoint: Path, tmp_path: Path, caplog: Any
) -> None:
    folder = tmp_path / "folder"
    samples = audio(1.0)
    agent = make_agent(checkpoint, record=str(folder / "record"))
    shutil.rmtree(folder)
    assert send(agent, samples, 4000) == send(make_agent(checkpoint), samples, 4000)
    (recorder,) = agent._observers
    assert recorder.lost == 5
    assert caplog.text.count("the translation goes on") == 1


def test_a_record_that_cannot_be_begun_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--record"):
        make_agent(checkpoint, record=str(tmp_path / "file" / "record"))
    with pytest.raises(ConfigError, match="--record-audio"):
        HostOptions(record_audio=True)


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
