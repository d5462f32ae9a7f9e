"""Curves of a run: its losses, and whether the encoder's output stays alive."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from echostream.training.history import HISTORY, Record, read

logger = logging.getLogger(__name__)

LOSSES, VARIANCE = "losses.svg", "variance.svg"


def draw_plots(run: Path, output: Path) -> list[Path]:
    """Draw ``losses.svg`` and ``variance.svg`` from the run's history.

    Nothing is drawn, with a warning, where matplotlib is not installed or nothing happened yet.
    """
    train, dev = read(run / HISTORY, "train"), read(run / HISTORY, "dev")
    if not train and not dev:
        logger.warning("%s has no history yet; no curves are drawn", run)
        return []
    try:
        import matplotlib
    except ImportError:
        logger.warning("matplotlib is not installed; no curves are drawn")
        return []
    matplotlib.use("Agg")
    losses = [
        ("ASR CTC, training", train, "asr_ctc_loss", "C0-"),
        ("ST CTC, training", train, "st_ctc_loss", "C1-"),
        ("ASR CTC, development", dev, "asr_ctc_loss", "C0o--"),
        ("ST CTC, development", dev, "st_ctc_loss", "C1o--"),
    ]
    variance = [
        ("over frames", dev, "frame_variance", "C0o-"),
        ("over utterances", dev, "utterance_variance", "C1o-"),
    ]
    return [
        _draw(output / LOSSES, losses, "nats per unit", floor=None),
        _draw(output / VARIANCE, variance, "share of the output's mean square", floor=0.0),
    ]


def _draw(
    path: Path,
    curves: Sequence[tuple[str, list[Record], str, str]],
    label: str,
    floor: float | None,
) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
    axes = figure.subplots()
    for name, records, key, style in curves:
        points = [(record["update"], record[key]) for record in records if key in record]
        if points:
            axes.plot(*zip(*points, strict=True), style, label=name, markersize=3)
    axes.set_xlabel("update")
    axes.set_ylabel(label)
    if floor is not None:
        axes.set_ylim(bottom=floor)
    axes.grid(alpha=0.3)
    axes.legend()
    # Without the date, the same run gives the same file.
    figure.savefig(path, metadata={"Date": None})
    return path
