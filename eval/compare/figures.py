"""The figures for papers, as SVG; None where there is nothing to draw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon

from eval.compare import metrics
from eval.compare.embedded import CORNERS
from eval.compare.schema import LengthRun, Point, Results, Score
from eval.drawing import Curve, Handle, as_svg, line_chart, line_style, marker, write_drawings


def quality_against_latency(results: Results, x: str = "LAAL", y: str = "BLEU") -> str | None:
    """Quality ``y`` over latency ``x``: a curve over segment sizes for each system and policy.

    Only points whose quality can be compared. They have 95 % intervals, and joint ellipses where
    there are any for x and y; an open marker is a degenerate policy.
    """
    curves: dict[tuple[str, str], list[Point]] = {}
    for point in results.points:
        measured = (point.figures.get(name) for name in (x, y))
        if results.comparable(point) and all(s and s.value is not None for s in measured):
            curves.setdefault((point.system, point.policy_label), []).append(point)
    if not curves:
        return None
    policies = list(dict.fromkeys(policy for _, policy in curves))
    one_system = len({system for system, _ in curves}) == 1

    def draw(axes: Axes) -> list[Handle]:
        handles: list[Handle] = []
        for (system, policy), points in curves.items():
            kind = policies.index(policy)
            style = line_style(kind if one_system else results.place(system))
            axes.plot(
                [_value(point.figures[x]) for point in points],
                [_value(point.figures[y]) for point in points],
                lw=1.2,
                **style,
            )
            for point in points:
                _draw_point(axes, point, x, y, style["color"], marker(kind))
            sample = Line2D([], [], marker=marker(kind), markersize=5, **style)
            handles.append((sample, f"{results.system(system).label}, {policy}"))
        any_point = next(iter(curves.values()))[0]
        axes.set_xlabel(metrics.with_unit(x, any_point.figures[x].unit))
        axes.set_ylabel(metrics.with_unit(y, any_point.figures[y].unit))
        return handles

    return as_svg(draw)


def _draw_point(axes: Axes, point: Point, x: str, y: str, colour: str, kind: str) -> None:
    axes.errorbar(
        _value(point.figures[x]),
        _value(point.figures[y]),
        xerr=_bar(point.figures[x]),
        yerr=_bar(point.figures[y]),
        color=colour,
        elinewidth=0.7,
        marker=kind,
        markersize=5,
        markerfacecolor="white" if point.degenerate else colour,
    )
    if point.joint and (point.joint.x, point.joint.y) == (x, y):
        corners = point.joint.distribution.outline(CORNERS)
        axes.add_patch(Polygon(corners, facecolor=colour, edgecolor="none", alpha=0.12))


def _value(score: Score) -> float:
    return float("nan") if score.value is None else score.value


def _bar(score: Score) -> list[list[float]] | None:
    if score.value is None or score.low is None or score.high is None:
        return None
    # An interval of the bootstrap need not hold the value itself; a bar cannot be negative.
    return [[max(0.0, score.value - score.low)], [max(0.0, score.high - score.value)]]


def compute_against_position(results: Results) -> str | None:
    """Computing time of each segment over its place in the longest recording of each system."""
    runs = results.longest_runs()
    curves = [
        Curve(
            _label(results, run),
            [cost.audio_ms / 1000 for cost in run.segments],
            [cost.compute_ms for cost in run.segments],
            line_style(results.place(run.system)),
        )
        for run in runs
    ]
    return line_chart(
        curves,
        "place in the recording (s)",
        "computing time of a segment (ms)",
        log="y",
        limits={
            f"real time: {size:g} ms": size for size in sorted({run.segment_ms for run in runs})
        },
    )


def compute_against_length(results: Results) -> str | None:
    """Computing time over audio time, against the length of the recording."""
    curves = _by_length(results, lambda run: run.compute_rtf)
    title = "length of the recording (s)"
    return line_chart(curves, title, "compute RTF", log="y", limits={"real time": 1})


def state_against_length(results: Results) -> str | None:
    """Memory that a stream holds on to between segments, against the length of the recording."""
    curves = _by_length(results, lambda run: run.state_bytes / 1024)
    return line_chart(curves, "length of the recording (s)", "state (KiB)")


def _by_length(results: Results, value: Callable[[LengthRun], float]) -> list[Curve]:
    return [
        Curve(
            _label(results, runs[0]),
            [run.seconds for run in runs],
            [value(run) for run in runs],
            {"marker": "o", **line_style(results.place(runs[0].system))},
        )
        for runs in results.runs_by_system()
    ]


def _label(results: Results, run: LengthRun) -> str:
    label = results.system(run.system).label
    several = len({run.segment_ms for run in results.lengths}) > 1
    return f"{label}, {run.segment_ms:g} ms" if several else label


def write_figures(results: Results, folder: Path) -> list[Path]:
    """Write every figure there is anything for."""
    drawn = {
        "quality-latency": quality_against_latency(results),
        "compute-position": compute_against_position(results),
        "compute-length": compute_against_length(results),
        "state-length": state_against_length(results),
    }
    return write_drawings(folder, drawn)
