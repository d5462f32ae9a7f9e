"""What a run leaves about itself: its course, its curves, how it was started."""

from __future__ import annotations

from pathlib import Path

import pytest

from echostream.training.export import draw_plots
from echostream.training.run_record import (
    HISTORY,
    append_history,
    read_history,
    read_record,
    record_run,
)


def test_of_an_update_that_was_made_twice_the_last_counts(tmp_path: Path) -> None:
    assert read_history(tmp_path, "train") == []
    for update, loss in ((50, 5.0), (100, 4.0), (150, 3.5), (100, 3.9), (150, 3.4)):
        append_history(tmp_path, {"part": "train", "update": update, "loss": loss})
    append_history(tmp_path, {"part": "dev", "update": 100, "loss": 9.0})
    with (tmp_path / HISTORY).open("a") as file:
        file.write('{"part": "train", "upda')
    assert [r["loss"] for r in read_history(tmp_path, "train")] == [5.0, 3.9, 3.4]
    assert [r["update"] for r in read_history(tmp_path, "dev")] == [100]


def test_curves_are_drawn_from_the_history(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="curves need matplotlib")
    assert draw_plots(tmp_path, tmp_path) == []
    shares = {"frame_variance": 0.7, "utterance_variance": 0.1}
    for update in range(50, 500, 50):
        losses = {"update": update, "asr_ctc_loss": 9 / update, "st_ctc_loss": 1.0}
        append_history(tmp_path, {"part": "train", **losses})
        append_history(tmp_path, {"part": "dev", **losses, **shares})
    drawn = draw_plots(tmp_path, tmp_path)
    assert [path.name for path in drawn] == ["losses.svg", "variance.svg"]
    for path in drawn:
        data = path.read_bytes()
        assert data.lstrip().startswith(b"<?xml") and len(data) > 5_000


def test_record_of_a_run_that_was_continued_otherwise(tmp_path: Path) -> None:
    for updates, command in ((0, "first"), (5, "first"), (9, "second"), (12, "second")):
        record_run(tmp_path, command, 1, [], updates=updates)
    record = read_record(tmp_path)
    assert record is not None and record.commands == ((0, "first"), (9, "second"))
    # Another run in the same place.
    assert record_run(tmp_path, "third", 1, []).commands == ((0, "third"),)
