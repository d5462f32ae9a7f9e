"""The tables: what stands in them, what is withheld; no text can break a Markdown table."""

import re
from dataclasses import replace

import pytest

from eval.compare.metrics import names_in, number
from eval.compare.schema import LengthRun, Results, Score, SegmentCost
from eval.compare.tables import (
    MARKDOWN_METRICS,
    as_markdown,
    lengths_table,
    markdown,
    paired_table,
    points_table,
    signatures_table,
)

from .hostile import hostile_results
from .synthetic import synthetic_results

RESULTS = synthetic_results(utterances=1, runs=1)


def with_one_point(**values: tuple[float, float | None, float | None, str]) -> Results:
    """The results with one point, whose figures are ``name=(value, low, high, unit)``."""
    figures = {name: Score(*value, signature="s") for name, value in values.items()}
    return replace(RESULTS, points=(replace(RESULTS.points[0], figures=figures),))


def cells(line: str) -> list[str]:
    """The cells of a line of a Markdown table, as GitHub splits it."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_points_in_markdown() -> None:
    results = with_one_point(
        WER=(61.26, 58.04, 64.0, "%"),
        compute_RTF=(0.03549, None, None, ""),
        LAAL=(1699.5001, 1600.2, 1800.7, "ms"),
        BLEU=(7.04, 5.0, 8.96, ""),
        AP=(0.5, None, None, ""),
    )
    table = as_markdown(points_table(results, MARKDOWN_METRICS))
    assert table == (
        "## Points\n\n"
        "| No. | System | Policy | Segment (ms) | Remark | BLEU | WER (%) | LAAL (ms) "
        "| compute_RTF |\n"
        "| --- | --- | --- | --- | --- | ---: | ---: | ---: | ---: |\n"
        "| 1 | EchoStream tiny | ctc | 160 |  | 7.0 [5.0, 9.0] | 61.3 [58.0, 64.0] "
        "| 1700 [1600, 1801] | 0.035 |\n"
    )


def test_all_metrics_have_a_column_in_order() -> None:
    results = with_one_point(
        Other=(1.0, None, None, ""),
        LAAL_RT=(1.0, None, None, "ms"),
        ATD=(1.0, None, None, "ms"),
        LAAL=(1.0, None, None, "ms"),
        WER=(1.0, None, None, "%"),
        LAAL_CA=(1.0, None, None, "ms"),
    )
    assert names_in(results.points) == ["WER", "LAAL", "LAAL_CA", "LAAL_RT", "ATD", "Other"]
    assert len(points_table(results).header) == 5 + 6


@pytest.mark.parametrize("trained", [True, False])
def test_quality_is_only_for_trained_systems_with_their_own_words(trained: bool) -> None:
    results = with_one_point(
        BLEU=(7.0, None, None, ""), chrF=(30.0, None, None, ""), LAAL=(1700.0, None, None, "ms")
    )
    system, point = replace(results.systems[0], trained=trained), results.points[0]
    results = replace(results, systems=(system,), points=(replace(point, forced=not trained),))
    (row,) = points_table(results).rows
    assert row[5:] == (("7.0", "30.0", "1700") if trained else ("–", "–", "1700"))
    assert row[4] == ("" if trained else "untrained, writes the reference")


@pytest.mark.parametrize(
    ("low", "high", "better", "winner"),
    [
        (0.3, 2.0, "higher", "EchoStream tiny"),
        (-2.0, -0.3, "higher", "StreamSpeech tiny"),
        (0.3, 2.0, "lower", "StreamSpeech tiny"),
        (-2.0, -0.3, "lower", "EchoStream tiny"),
        (-0.1, 2.0, "higher", "no difference shown"),
        (0.0, 2.0, "higher", "no difference shown"),
        (None, 2.0, "higher", "–"),
    ],
)
def test_who_is_better(low: float | None, high: float, better: str, winner: str) -> None:
    values = {"low": low, "high": high, "better": better, "difference": 1.15, "p": 0.0004}
    paired = replace(RESULTS.paired[0], **values)
    (row,) = paired_table(replace(RESULTS, paired=(paired,))).rows
    ends = ["–" if end is None else f"{end:+.1f}" if end else "0.0" for end in (low, high)]
    assert row[5:] == (winner, "+1.1", f"[{ends[0]}, {ends[1]}]", "< 0.001")


def test_untrained_quality_is_not_tested() -> None:
    rows = paired_table(RESULTS).rows
    untrained = [row for row in rows if row[1] == "StreamSpeech"]
    assert [(row[4], row[5]) for row in untrained] == [
        ("BLEU", "not compared: untrained"),
        ("LAAL", "EchoStream tiny"),
    ]
    assert untrained[0][6:] == ("–", "–", "–")


def test_first_and_last_segments() -> None:
    others = {"front_end": 0.25, "decoder": 0.25}
    costs = [{"encoder": float(number), **others} for number in range(22)]
    segments = [SegmentCost(320 * number, each, 2048) for number, each in enumerate(costs, 1)]
    run = LengthRun("echostream-tiny", 7, 320, 1, tuple(segments))
    # Two of 22: encoder 0 and 1, then 20 and 21, and half a millisecond of the other parts.
    assert lengths_table(replace(RESULTS, lengths=(run,))).rows == (
        ("EchoStream tiny", "320", "7", "1.0", "21.0", "242", "0.034", "2"),
    )


def test_a_signature_is_given_once() -> None:
    table = signatures_table(RESULTS)
    assert len(table.rows) == len({row[1] for row in table.rows}) == 10 * 3
    laal = [row for row in table.rows if row[1].startswith("LAAL|") and "160ms" in row[1]]
    assert [row[2] for row in laal] == ["1, 4, 7, 10, 13, 16, 19, 22, 25, 28"]


def test_no_text_breaks_a_table() -> None:
    text = markdown(hostile_results())
    assert len(cells("| a | b \\| c |")) == 2  # the test's own reading
    tables = [part.splitlines() for part in re.split(r"^## .*$", text, flags=re.M)[1:]]
    assert len(tables) == 3
    for table in tables:
        lines = [line for line in table if line]
        assert {len(cells(line)) for line in lines} == {len(cells(lines[0]))}
        assert set(cells(lines[1])) <= {"---", "---:"}
    assert "<" not in text
    assert "](" not in text


@pytest.mark.parametrize(
    ("value", "name", "unit", "text"),
    [(-0.4, "LAAL", "ms", "0"), (-0.04, "BLEU", "", "0.0"), (-0.06, "BLEU", "", "-0.1")],
)
def test_no_minus_before_nothing(value: float, name: str, unit: str, text: str) -> None:
    assert number(value, name, unit) == text
