"""What the figures for papers have in common: colours, style, charts of lines, and SVG.

Colours are of Okabe and Ito's palette, which people with any colour vision can tell apart; systems
also differ in line style, policies in marker. Text stays text, and the same drawing gives the same
bytes.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from echostream.whole_file import write_whole

SYSTEM_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
SYSTEM_LINES = ("-", "--", "-.", ":")
POLICY_MARKERS = ("o", "s", "^", "D", "v")
DOTTED = (0, (1, 2))

_SIZE = (6.0, 3.8)
"""Inches."""

Handle = tuple[Line2D, str]
"""A sample for the legend and its label."""

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "echostream",
    # Labels come from the results: a dollar sign is a dollar sign.
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "font.size": 9,
}


@dataclass(frozen=True)
class Curve:
    """One line of a chart."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    style: Mapping[str, Any]


def line_chart(
    curves: Sequence[Curve],
    x: str,
    y: str,
    *,
    log: str = "",
    limits: Mapping[str, float] | None = None,
) -> str | None:
    """Curves as SVG, or None where there is nothing to draw.

    Args:
        curves: in the order of the legend.
        x: title of the axis.
        y: likewise.
        log: which axes are logarithmic: ``x``, ``y`` or ``xy``; the others begin at 0.
        limits: heights of dotted lines, by what they mean.
    """
    if not any(len(curve.x) for curve in curves):
        return None

    def draw(axes: Axes) -> list[Handle]:
        handles: list[Handle] = []
        for curve in curves:
            style = {"lw": 1.2, "markersize": 4, **curve.style}
            axes.plot(curve.x, curve.y, **style)
            handles.append((Line2D([], [], **style), curve.label))
        for text, height in (limits or {}).items():
            axes.axhline(height, color="0.4", lw=0.8, ls=DOTTED)
            axes.annotate(
                text,
                (1, height),
                xycoords=("axes fraction", "data"),
                xytext=(-3, 3),
                textcoords="offset points",
                ha="right",
                fontsize=8,
                color="0.3",
            )
        if "x" in log:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
        if "y" in log:
            axes.set_yscale("log")
            # Times often span less than a decade, so 2 and 5 have numbers too.
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
        else:
            axes.set_ylim(bottom=0)
        axes.set(xlabel=x, ylabel=y)
        return handles

    return as_svg(draw)


def as_svg(draw: Callable[[Axes], list[Handle]]) -> str:
    """What ``draw`` puts on the axes, with the legend that it returns below, as SVG."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever the user's own settings are
        matplotlib.rcParams.update(_STYLE)
        figure = Figure(figsize=_SIZE, layout="constrained")
        canvas = FigureCanvasSVG(figure)
        handles = draw(figure.add_subplot())
        figure.legend(
            [handle for handle, _ in handles],
            [label for _, label in handles],
            loc="outside lower center",
            ncols=1 if max(len(label) for _, label in handles) > 40 else 2,
            frameon=False,
            fontsize=8,
        )
        text = io.StringIO()
        undated = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        canvas.print_figure(text, format="svg", metadata=undated)
    return text.getvalue()


def write_drawings(folder: Path, drawings: Mapping[str, str | None]) -> list[Path]:
    """Each as ``NAME.svg``; the paths of those there are."""
    written = {folder / f"{name}.svg": svg for name, svg in drawings.items() if svg is not None}
    for path, svg in written.items():
        write_whole(path, svg)
    return list(written)


def line_style(place: int) -> dict[str, Any]:
    """Colour and line of the system, or the curve, at this place."""
    return {
        "color": SYSTEM_COLOURS[place % len(SYSTEM_COLOURS)],
        "linestyle": SYSTEM_LINES[place % len(SYSTEM_LINES)],
    }


def marker(place: int) -> str:
    """Marker of the policy at this place."""
    return POLICY_MARKERS[place % len(POLICY_MARKERS)]
