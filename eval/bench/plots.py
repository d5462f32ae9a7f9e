"""The results as three drawings in SVG; matplotlib is needed."""

from __future__ import annotations

from pathlib import Path

from eval.bench.cases import ECHOSTREAM
from eval.bench.rows import Results
from eval.drawing import DOTTED, Curve, line_chart, line_style, marker, write_drawings


def draw_plots(results: Results, folder: Path) -> list[Path]:
    """Draw what there is to draw; the files."""
    sizes = {
        row.case.chunk_ms: results.bound(row.case).ms
        for row in results.varied("chunk_ms")
        if row.case.system == ECHOSTREAM
    }
    bound = Curve("bound", list(sizes), list(sizes.values()), {"color": "0.4", "linestyle": DOTTED})
    time = "time per chunk (ms, median)"
    drawings = {
        "chunk-time": line_chart(
            [*_curves(results, "chunk_ms", "wall_ms_p50"), bound], "chunk (ms)", time, log="y"
        ),
        "position": line_chart(
            _curves(results, "position_s", "wall_ms_p50"),
            "audio heard before (s)",
            time,
            log="xy",
            limits={"bound": results.bound(results.references[0].case).ms},
        ),
        "streams": line_chart(
            [
                curve
                for curve in _curves(results, "streams", "streams_per_core")
                if len(curve.x) > 1
            ],
            "streams in one batch",
            "streams per core in real time",
        ),
    }
    return write_drawings(folder, drawings)


def _curves(results: Results, x: str, y: str) -> list[Curve]:
    """A curve for each thing that runs."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for row in results.varied(x):
        xs, ys = found.setdefault(row.case.runner, ([], []))
        xs.append(getattr(row.case, x))
        ys.append(getattr(row, y))
    return [
        Curve(name, *points, {"marker": marker(place), **line_style(place)})
        for place, (name, points) in enumerate(found.items())
    ]
