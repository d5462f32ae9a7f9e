"""What the figures for papers have in common: colours, style, and how they become SVG.

Colours are of Okabe and Ito's palette, which people with any colour vision can tell apart; systems
also differ in line style, policies in marker. Text stays text, and the same drawing gives the same
bytes.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

SYSTEM_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
SYSTEM_LINES = ("-", "--", "-.", ":")
POLICY_MARKERS = ("o", "s", "^", "D", "v")
WAITING_COLOUR = "#d9d9d9"
STAGE_COLOURS = ("#56b4e9", "#d55e00", "#cc79a7", "#0072b2", "#009e73", "#e69f00", "#000000")
"""Of stages in the order in which they are met; the page's style sheet has the same."""

DOTTED = (0, (1, 2))

SIZE = (6.0, 3.8)
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


def as_svg(draw: Callable[[Axes], list[Handle]], height: float = SIZE[1]) -> str:
    """What ``draw`` puts on the axes, with the legend that it returns below, as SVG."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever the user's own settings are
        matplotlib.rcParams.update(_STYLE)
        figure = Figure(figsize=(SIZE[0], height), layout="constrained")
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


def line_style(place: int) -> dict[str, Any]:
    """Colour and line of the system, or the curve, at this place."""
    return {
        "color": SYSTEM_COLOURS[place % len(SYSTEM_COLOURS)],
        "linestyle": SYSTEM_LINES[place % len(SYSTEM_LINES)],
    }


def part_colours(stages: Sequence[str]) -> list[str]:
    """Of the parts of a delay: the waiting and each stage."""
    return [WAITING_COLOUR, *(STAGE_COLOURS[k % len(STAGE_COLOURS)] for k in range(len(stages)))]


def marker(place: int) -> str:
    """Marker of the policy at this place."""
    return POLICY_MARKERS[place % len(POLICY_MARKERS)]


def log_scale(axes: Axes) -> None:
    """Logarithmic y, with numbers written out."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def limit(axes: Axes, value: float, text: str) -> None:
    """A dotted line at y = ``value``."""
    axes.axhline(value, color="0.4", lw=0.8, ls=DOTTED)
    axes.annotate(
        text,
        (1, value),
        xycoords=("axes fraction", "data"),
        xytext=(-3, 3),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color="0.3",
    )
