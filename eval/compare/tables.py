"""The tables of the report: made once as rows of text, written as Markdown or put on the page."""

from collections import defaultdict
from dataclasses import dataclass
from statistics import median

from echostream.scoring.tables import markdown_table
from eval.compare import metrics
from eval.compare.schema import LengthRun, Point, Results

MARKDOWN_METRICS = ("BLEU", "chrF", "WER", "LAAL", "LAAL_CA", "LAAL_RT", "compute_RTF")
"""Those of the points that fit on a sheet of paper; the page has all."""


@dataclass(frozen=True)
class Table:
    """Rows of text under a header."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int
    """How many columns at the left are words; the others are numbers and go to the right."""


def points_table(results: Results, names: tuple[str, ...] | None = None) -> Table:
    """One row for each point. ``names`` are the metrics wanted; without it, all there are."""
    found = metrics.names_in(results.points)
    chosen = [name for name in names if name in found] if names else found
    units = results.units
    rows = tuple(
        (
            str(number),
            results.system(point.system).label,
            point.policy_label,
            f"{point.segment_ms:g}",
            remark(results, point),
            *(_figure(results, point, name) for name in chosen),
        )
        for number, point in enumerate(results.points, 1)
    )
    columns = (metrics.with_unit(name, units[name]) for name in chosen)
    header = ("No.", "System", "Policy", "Segment (ms)", "Remark", *columns)
    return Table("Points", header, rows, text_columns=5)


def _figure(results: Results, point: Point, name: str) -> str:
    score = point.figures.get(name)
    if score is None or (name in metrics.QUALITY and not results.is_trained(point)):
        return "–"
    return metrics.with_interval(score, name)


def remark(results: Results, point: Point) -> str:
    """What to know before comparing this point with another."""
    remarks = {
        "untrained": not results.is_trained(point),
        "writes the reference": point.forced,
        "degenerate policy": point.degenerate,
        f"{point.instances} recordings": point.instances < results.data.recordings,
    }
    return ", ".join(text for text, holds in remarks.items() if holds)


def signatures_table(results: Results) -> Table:
    """Each signature once, with the numbers of the points it is for."""
    places: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for number, point in enumerate(results.points, 1):
        for name, score in point.figures.items():
            if score.signature:
                places[name, score.signature].append(str(number))
    order = metrics.names_in(results.points)
    rows = sorted(
        ((name, signature, ", ".join(numbers)) for (name, signature), numbers in places.items()),
        key=lambda row: order.index(row[0]),
    )
    return Table("Signatures", ("Figure", "Signature", "Points"), tuple(rows), text_columns=3)


def paired_table(results: Results) -> Table:
    """One row for each test, and in words which side it found better."""
    rows, units = [], results.units
    for paired in results.paired:
        a, b = results.system(paired.a), results.system(paired.b)
        row = [a.label, b.label, paired.policy_label, f"{paired.segment_ms:g}", paired.metric]
        unit = units.get(paired.metric, "")
        if paired.metric in metrics.QUALITY and not (a.trained and b.trained):
            rows.append((*row, "not compared: untrained", "–", "–", "–"))
            continue
        difference, low, high = (
            metrics.number(value, paired.metric, unit)
            for value in (paired.difference, paired.low, paired.high)
        )
        rows.append(
            (
                *row,
                _better(paired.low, paired.high, paired.better, a.label, b.label),
                _signed(difference) + (f" {unit}" if unit else ""),
                f"[{_signed(low)}, {_signed(high)}]",
                "–" if paired.p is None else "< 0.001" if paired.p < 0.001 else f"{paired.p:.3f}",
            )
        )
    header = ("A", "B", "Policy", "Segment (ms)", "Figure", "Better", "A - B", "95 % interval", "p")
    return Table("Paired tests", header, tuple(rows), text_columns=6)


def _better(low: float | None, high: float | None, better: str, a: str, b: str) -> str:
    if low is None or high is None:
        return "–"
    if low <= 0 <= high:
        return "no difference shown"
    return a if (low > 0) == (better == "higher") else b


def _signed(text: str) -> str:
    return f"+{text}" if text[0] not in "-–" and float(text) else text


def lengths_table(results: Results) -> Table:
    """Computing against the length of the recording: first segment, last, the whole, the state."""
    rows = tuple(
        (
            results.system(run.system).label,
            f"{run.segment_ms:g}",
            f"{run.seconds:g}",
            *(milliseconds(cost) for cost in edge_costs(run)),
            f"{run.compute_ms:.0f}",
            f"{run.compute_rtf:.3f}",
            f"{run.state_bytes / 1024:.0f}",
        )
        for run in results.lengths
    )
    header = (
        "System",
        "Segment (ms)",
        "Recording (s)",
        "First segments (ms)",
        "Last segments (ms)",
        "Whole recording (ms)",
        "Compute RTF",
        "State (KiB)",
    )
    return Table("Computing against length", header, rows, text_columns=1)


def edge_costs(run: LengthRun) -> tuple[float, float]:
    """Median computing time of the first and of the last tenth of the segments."""
    costs = [segment.compute_ms for segment in run.segments]
    tenth = max(1, len(costs) // 10)
    return median(costs[:tenth]), median(costs[-tenth:])


def milliseconds(value: float) -> str:
    """A computing time with the digits that mean something."""
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def as_markdown(table: Table) -> str:
    """The table with its title as a heading."""
    text = markdown_table(table.header, table.rows, text_columns=table.text_columns)
    return f"## {table.title}\n\n{text if table.rows else 'None.'}\n"


def markdown(results: Results) -> str:
    """Points, paired tests and lengths, one under the other."""
    tables = (
        points_table(results, MARKDOWN_METRICS),
        paired_table(results),
        lengths_table(results),
    )
    return "\n".join(map(as_markdown, tables))
