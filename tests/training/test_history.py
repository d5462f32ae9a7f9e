"""The course of a run, its curves and its card."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from echostream.training import history
from echostream.training.curves import draw_plots


def test_of_an_update_that_was_made_twice_the_last_counts(tmp_path: Path) -> None:
    path = tmp_path / history.HISTORY
    for update, loss in ((50, 5.0), (100, 4.0), (150, 3.5), (100, 3.9), (150, 3.4)):
        history.append(path, {"part": "train", "update": update, "loss": loss})
    history.append(path, {"part": "dev", "update": 100, "loss": 9.0})
    with path.open("a") as file:
        file.write('{"part": "train", "upda')
    assert [r["loss"] for r in history.read(path, "train")] == [5.0, 3.9, 3.4]
    assert [r["update"] for r in history.read(path, "dev")] == [100]
    assert history.read(tmp_path / "none.jsonl", "train") == []


def test_curves_are_drawn_from_the_history(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="curves need matplotlib")
    assert draw_plots(tmp_path, tmp_path) == []
    for update in range(50, 500, 50):
        losses = {"asr_ctc_loss": math.exp(-update / 200), "st_ctc_loss": 1.0}
        history.append(tmp_path / history.HISTORY, {"part": "train", "update": update, **losses})
        shares = {"frame_variance": 0.7, "utterance_variance": 0.1}
        history.append(
            tmp_path / history.HISTORY, {"part": "dev", "update": update, **losses, **shares}
        )
    drawn = draw_plots(tmp_path, tmp_path)
    assert [path.name for path in drawn] == ["losses.svg", "variance.svg"]
    first = [path.read_bytes() for path in drawn]
    assert all(data.lstrip().startswith(b"<?xml") and len(data) > 5_000 for data in first)
