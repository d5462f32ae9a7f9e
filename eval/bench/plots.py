"""The results as three drawings in SVG; matplotlib is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from echostream.whole_file import write_whole
from eval.bench.cases import STREAMSPEECH
from eval.bench.rows import Results, Row
from eval.drawing import DOTTED, Handle, as_svg, limit, line_style, log_scale, marker

CHUNK, POSITION, STREAMS = "chunk-time.svg", "position.svg", "streams.svg"


def draw_plots(results: Results, folder: Path) -> list[Path]:
    """Draw what there is to draw; the files."""
    drawings = {
        CHUNK: chunk_time(results),
        POSITION: time_by_position(results),
        STREAMS: streams_per_core(results),
    }
    paths = []
    for name, svg in drawings.items():
        if svg is not None:
            path = folder / name
            write_whole(path, svg)
            paths.append(path)
    return paths


def chunk_time(results: Results) -> str | None:
    """Time of a chunk over its size for each backend, and the bound."""
    plan = results.plan
    rows = [
        row
        for row in results.rows
        if not row.case.is_offline
        and row.case.position_s == plan.positions[0]
        and row.case.threads == plan.threads[0]
        and row.case.streams == 1
        and (
            row.case.system == STREAMSPEECH or row.case.max_future_frames == plan.max_future_frames
        )
    ]
    bounds = {
        row.case.chunk_ms: results.bound(row.case).ms
        for row in rows
        if row.case.system != STREAMSPEECH
    }

    def draw(axes: Axes) -> list[Handle]:
        handles = _curves(axes, rows, lambda row: row.case.chunk_ms, lambda row: row.wall_ms_p50)
        sizes = sorted(bounds)
        axes.plot(sizes, [bounds[ms] for ms in sizes], color="0.4", ls=DOTTED, marker="_")
        handles.append((Line2D([], [], color="0.4", ls=DOTTED), "bound"))
        axes.set_xticks(sizes)
        axes.set_xlabel("chunk (ms)")
        axes.set_ylabel("time per chunk (ms, median)")
        _log_scale(axes)
        return handles

    return as_svg(draw) if len(rows) > 1 else None


def time_by_position(results: Results) -> str | None:
    """Time of a chunk over what was heard before."""
    plan = results.plan
    rows = [
        row
        for row in results.rows
        if not row.case.is_offline
        and row.case.chunk_ms == plan.chunk_ms
        and row.case.threads == plan.threads[0]
        and row.case.streams == 1
        and (
            row.case.system == STREAMSPEECH or row.case.max_future_frames == plan.max_future_frames
        )
    ]
    bound = results.bound(results.references[0].case).ms

    def draw(axes: Axes) -> list[Handle]:
        handles = _curves(axes, rows, lambda row: row.case.position_s, lambda row: row.wall_ms_p50)
        limit(axes, bound, "bound")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel("audio heard before (s)")
        axes.set_ylabel("time per chunk (ms, median)")
        _log_scale(axes)
        return handles

    return as_svg(draw) if len({row.case.position_s for row in rows}) > 1 else None


def streams_per_core(results: Results) -> str | None:
    """Streams that a core sustains in real time over the size of the batch."""
    plan = results.plan
    rows = [
        row
        for row in results.rows
        if not row.case.is_offline
        and row.case.system != STREAMSPEECH
        and row.case.chunk_ms == plan.chunk_ms
        and row.case.position_s == plan.positions[0]
        and row.case.threads == plan.threads[0]
        and row.case.max_future_frames == plan.max_future_frames
    ]

    def draw(axes: Axes) -> list[Handle]:
        handles = _curves(
            axes, rows, lambda row: row.case.streams, lambda row: row.streams_per_core
        )
        axes.set_xticks(sorted({row.case.streams for row in rows}))
        axes.set_xlabel("streams in one batch")
        axes.set_ylabel("streams per core in real time")
        axes.set_ylim(bottom=0)
        return handles

    return as_svg(draw) if len({row.case.streams for row in rows}) > 1 else None


def _log_scale(axes: Axes) -> None:
    """Logarithmic y; times often span less than a decade, so 2 and 5 have numbers too."""
    log_scale(axes)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))


def _curves(
    axes: Axes,
    rows: Iterable[Row],
    x: Callable[[Row], float],
    y: Callable[[Row], float],
) -> list[Handle]:
    """A curve for each thing that runs."""
    curves: dict[str, list[Row]] = {}
    for row in rows:
        curves.setdefault(row.case.runner, []).append(row)
    handles = []
    for place, (name, points) in enumerate(curves.items()):
        points.sort(key=x)
        style = line_style(place)
        axes.plot(
            [x(row) for row in points],
            [y(row) for row in points],
            marker=marker(place),
            markersize=4,
            lw=1.2,
            **style,
        )
        handles.append((Line2D([], [], marker=marker(place), markersize=4, **style), name))
    return handles
