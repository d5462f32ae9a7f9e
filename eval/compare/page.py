"""The page: ``assets/page.html`` filled with the results, its style and its programs.

Everything that comes from the results is escaped: by Jinja2 in the text, as JSON in the script. The
page forbids itself any network access and any script but its own (Content-Security-Policy).
"""

import base64
import hashlib
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined, select_autoescape

from echostream.whole_file import write_whole
from eval.compare import metrics
from eval.compare.embedded import embedded_json
from eval.compare.schema import Results, part_names
from eval.compare.tables import (
    lengths_table,
    markdown,
    paired_table,
    points_table,
    signatures_table,
)


def summary(results: Results) -> str:
    """What was run and what it can say."""
    data = results.data
    policies = list(dict.fromkeys(point.policy_label for point in results.points))
    sizes = sorted({point.segment_ms for point in results.points})
    text = (
        f"{_count(len(results.systems), 'system')} translated "
        f"{_count(data.recordings, 'recording')} ({data.seconds:.0f} s) of {data.name}"
    )
    if results.points:
        text += (
            f" with the {'policy' if len(policies) == 1 else 'policies'} {listed(policies)} "
            f"in segments of {listed(f'{size:g}' for size in sizes)} ms"
        )
    return f"{text}. {quality_note(results)}"


def quality_note(results: Results) -> str:
    """Whose quality is compared and whose is not, and why."""
    trained = [system.label for system in results.systems if system.trained]
    untrained = [system.label for system in results.systems if not system.trained]
    if not trained:
        return (
            "No system here has trained weights, so quality is not compared; "
            "times and memory do not depend on training."
        )
    note = (
        "Quality is compared only for trained systems that choose their own words, here "
        f"{listed(trained)}"
    )
    note += ": its policies and segment sizes with each other." if len(trained) == 1 else "."
    if untrained:
        verb, subject = ("is", "it writes") if len(untrained) == 1 else ("are", "they write")
        note += (
            f" Not trained {verb} {listed(untrained)}: {subject} the reference when the policy "
            "says so, for time and memory, which do not depend on training."
        )
    return note


def listed(words: Iterable[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *rest, last = words
    return f"{', '.join(rest)} and {last}" if rest else last


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


SCRIPTS = ("chart.js", "comparison.js", "timeline.js")

PAGE_NAME = "report.html"
TABLES_NAME = "tables.md"


def write_report(results: Results, folder: Path) -> list[Path]:
    """Write all parts of the report; files of the same names are replaced.

    ``report.html`` needs no other file and no network; ``tables.md`` has the tables as Markdown.

    Returns the paths written, the page first. Raises DataError for what cannot be written.
    """
    texts = {PAGE_NAME: page(results), TABLES_NAME: markdown(results)}
    for name, text in texts.items():
        write_whole(folder / name, text)
    return [folder / name for name in texts]


def page(results: Results) -> str:
    """The page as HTML."""
    environment = Environment(
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = "".join(_asset(name) for name in SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.from_string(_asset("page.html")).render(
        results=results,
        machine={**results.machine, **results.versions},
        style=_asset("page.css"),
        script=script,
        script_hash=f"sha256-{digest}",
        data=embedded_json(results),
        summary=summary(results),
        quality_note=quality_note(results),
        compared=any(map(results.is_trained, results.points)),
        parts=part_names(results.stages),
        points=points_table(results),
        signatures=signatures_table(results),
        paired=paired_table(results),
        lengths=lengths_table(results),
        explanations={
            name: text
            for name in metrics.names_in(results.points)
            if (text := metrics.explain(name))
        },
    )


def _asset(name: str) -> str:
    return (files("eval.compare") / "assets" / name).read_text(encoding="utf-8")
