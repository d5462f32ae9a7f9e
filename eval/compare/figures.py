"""The figures for papers, as SVG. Each is a function of the results that draws one of them.

All return None where there is nothing to draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon

from echostream.whole_file import write_whole
from eval.compare import metrics
from eval.compare.embedded import CORNERS
from eval.compare.schema import (
    LengthRun,
    Point,
    Results,
    Score,
    TimelineRun,
    Utterance,
    part_names,
    parts_of,
)
from eval.drawing import (
    DOTTED,
    Handle,
    as_svg,
    limit,
    line_style,
    log_scale,
    marker,
    part_colours,
)


def quality_against_latency(results: Results, x: str = "LAAL", y: str = "BLEU") -> str | None:
    """Quality ``y`` over latency ``x``: a curve over segment sizes for each system and policy.

    Only points whose quality can be compared. They have 95 % intervals, and joint ellipses where
    there are any for x and y; an open marker is a degenerate policy.
    """
    curves: dict[tuple[str, str], list[Point]] = {}
    for point in results.points:
        if results.comparable(point) and _measured(point, x) and _measured(point, y):
            curves.setdefault((point.system, point.policy_label), []).append(point)
    if not curves:
        return None
    systems = [system.name for system in results.systems]
    policies = list(dict.fromkeys(policy for _, policy in curves))
    one_system = len({system for system, _ in curves}) == 1

    def draw(axes: Axes) -> list[Handle]:
        handles = []
        for (system, policy), points in curves.items():
            kind = policies.index(policy)
            style = line_style(kind if one_system else systems.index(system))
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
        corners = point.joint.distribution.ellipse().outline(CORNERS)
        axes.add_patch(Polygon(corners, facecolor=colour, edgecolor="none", alpha=0.12))


def _measured(point: Point, name: str) -> bool:
    return name in point.figures and point.figures[name].value is not None


def _value(score: Score) -> float:
    return float("nan") if score.value is None else score.value


def _bar(score: Score) -> list[list[float]] | None:
    if score.value is None or score.low is None or score.high is None:
        return None
    # An interval of the bootstrap need not hold the value itself; a bar cannot be negative.
    return [[max(0.0, score.value - score.low)], [max(0.0, score.high - score.value)]]


def compute_against_position(results: Results) -> str | None:
    """Computing time of each segment over its place in the longest recording of each system."""
    runs = [[run] for run in results.longest_runs()]
    if not runs:
        return None

    def draw(axes: Axes) -> list[Handle]:
        handles = _draw_runs(
            axes,
            results,
            runs,
            lambda group: (
                [cost.audio_ms / 1000 for cost in group[0].segments],
                [cost.compute_ms for cost in group[0].segments],
            ),
        )
        for size in sorted({run.segment_ms for (run,) in runs}):
            limit(axes, size, f"real time: {size:g} ms")
        log_scale(axes)
        axes.set_xlabel("place in the recording (s)")
        axes.set_ylabel("computing time of a segment (ms)")
        return handles

    return as_svg(draw)


def compute_against_length(results: Results) -> str | None:
    """Computing time over audio time, against the length of the recording."""
    if not results.lengths:
        return None

    def draw(axes: Axes) -> list[Handle]:
        handles = _draw_runs(
            axes,
            results,
            results.runs_by_system(),
            lambda runs: ([run.seconds for run in runs], [run.compute_rtf for run in runs]),
            mark="o",
        )
        limit(axes, 1, "real time")
        log_scale(axes)
        axes.set_xlabel("length of the recording (s)")
        axes.set_ylabel("compute RTF")
        return handles

    return as_svg(draw)


def state_against_length(results: Results) -> str | None:
    """Memory that a stream holds on to between segments, against the length of the recording."""
    if not results.lengths:
        return None

    def draw(axes: Axes) -> list[Handle]:
        handles = _draw_runs(
            axes,
            results,
            results.runs_by_system(),
            lambda runs: (
                [run.seconds for run in runs],
                [run.state_bytes / 1024 for run in runs],
            ),
            mark="o",
        )
        axes.set_ylim(bottom=0)
        axes.set_xlabel("length of the recording (s)")
        axes.set_ylabel("state (KiB)")
        return handles

    return as_svg(draw)


def _draw_runs(
    axes: Axes,
    results: Results,
    groups: Sequence[list[LengthRun]],
    values: Callable[[list[LengthRun]], tuple[list[float], list[float]]],
    mark: str = "",
) -> list[Handle]:
    several = len({group[0].segment_ms for group in groups}) > 1
    handles = []
    for group in groups:
        label = results.system(group[0].system).label
        style = line_style(results.place(group[0].system))
        (line,) = axes.plot(*values(group), lw=1.2, marker=mark, markersize=4, **style)
        handles.append((line, f"{label}, {group[0].segment_ms:g} ms" if several else label))
    return handles


def word_delays(
    results: Results, utterance: Utterance, run: TimelineRun, reading: str = "real_time"
) -> str | None:
    """When each word of a run was written, and what it was waiting for until then.

    ``reading`` is one of :data:`~eval.compare.schema.READINGS`.
    """
    if not run.words:
        return None
    names, colours = part_names(results.stages), part_colours(results.stages)

    def draw(axes: Axes) -> list[Handle]:
        for row, word in enumerate(run.words):
            left = 0.0
            parts = parts_of(getattr(word, reading), results.stages)
            for part, colour in zip(parts, colours, strict=True):
                axes.barh(row, part / 1000, left=left / 1000, height=0.7, color=colour)
                left += part
            axes.annotate(
                word.text,
                (left / 1000, row),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
        axes.axvline(utterance.seconds, color="0.4", lw=0.8, ls=DOTTED)
        axes.margins(x=0.12)
        axes.set_xlim(left=0)
        axes.invert_yaxis()
        axes.set_yticks([])
        axes.set_xlabel("time since the recording began (s); dotted: its end")
        label = results.system(run.system).label
        axes.set_title(f"{label}, {run.policy_label}, {run.segment_ms:g} ms", fontsize=9)
        return [
            (Line2D([], [], color=colour, lw=6), name)
            for name, colour in zip(names, colours, strict=True)
        ]

    return as_svg(draw, height=1.4 + 0.18 * len(run.words))


def write_figures(results: Results, folder: Path) -> list[Path]:
    """Write every figure there is anything for; of the delays, those of the first utterance."""
    drawn = {
        "quality-latency": quality_against_latency(results),
        "compute-position": compute_against_position(results),
        "compute-length": compute_against_length(results),
        "state-length": state_against_length(results),
    }
    for utterance in results.utterances[:1]:
        for place, run in enumerate(utterance.runs, 1):
            drawn[f"delays-{place}"] = word_delays(results, utterance, run)
    written = []
    for name, svg in drawn.items():
        if svg is not None:
            path = folder / f"{name}.svg"
            write_whole(path, svg)
            written.append(path)
    return written
