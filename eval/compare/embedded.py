"""The numbers that the page draws, as compact as they can be: rounded, lists where keys say little.

Lists and their order are described where they are made; ``assets/*.js`` reads them in that order.
"""

import json
from itertools import accumulate
from typing import Any

from eval.compare import metrics
from eval.compare.schema import (
    READINGS,
    Point,
    Results,
    TimelineRun,
    Utterance,
    part_names,
    parts_of,
)

CORNERS = 40
"""Of the polygon that stands for an ellipse."""

DIGITS = 5
"""Significant digits of what is only drawn."""


def embedded_json(results: Results) -> str:
    """All of it as JSON that is safe inside ``<script type="application/json">``."""
    stages = results.stages
    content = {
        "systems": [system.label for system in results.systems],
        "parts": part_names(stages),
        "tradeoff": tradeoff(results),
        "positions": [
            {
                "system": results.place(run.system),
                "segment_ms": run.segment_ms,
                "seconds": run.seconds,
                # position in s, then the computing time of each stage in ms
                "points": [
                    [
                        _short(segment.audio_ms / 1000),
                        *(_short(segment.costs.get(stage, 0.0)) for stage in stages),
                    ]
                    for segment in run.segments
                ],
            }
            for *_, run in results.runs_by_system()
        ],
        "lengths": [
            {
                "system": results.place(runs[0].system),
                "segment_ms": runs[0].segment_ms,
                # length in s, compute RTF, state in bytes
                "points": [[run.seconds, _short(run.compute_rtf), run.state_bytes] for run in runs],
            }
            for runs in results.runs_by_system()
        ],
        "utterances": [_utterance(results, stages, utterance) for utterance in results.utterances],
    }
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # `</script>` and `<!--` end or bend the element wherever they stand.
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text


def tradeoff(results: Results) -> dict[str, Any]:
    """The points whose quality can be compared, and the metrics for either axis."""
    compared = [point for point in results.points if results.is_trained(point)]
    names, units = metrics.names_in(compared), results.units

    def choices(wanted: list[str]) -> list[dict[str, str]]:
        return [
            {
                "name": name,
                "title": metrics.with_unit(name, units[name]),
                "text": metrics.explain(name),
            }
            for name in wanted
        ]

    return {
        "x": choices([name for name in names if metrics.is_latency(name, units[name])]),
        "y": choices([name for name in names if name in metrics.QUALITY]),
        "points": [_point(results, point) for point in compared],
    }


def _point(results: Results, point: Point) -> dict[str, Any]:
    joint = point.joint
    return {
        "system": results.place(point.system),
        "policy": point.policy,
        "label": point.policy_label,
        "segment_ms": point.segment_ms,
        "degenerate": point.degenerate,
        # metric: value, low, high
        "values": {
            name: [_short(score.value), _short(score.low), _short(score.high)]
            for name, score in point.figures.items()
        },
        "joint": joint
        and {
            "x": joint.x,
            "y": joint.y,
            "corners": [[_short(x), _short(y)] for x, y in joint.distribution.outline(CORNERS)],
        },
    }


def _utterance(results: Results, stages: list[str], utterance: Utterance) -> dict[str, Any]:
    return {
        "id": utterance.id,
        "seconds": utterance.seconds,
        "source": utterance.source_text,
        "reference": utterance.reference,
        # lowest and highest sample in hundredths of full scale
        "waveform": [[round(100 * low), round(100 * high)] for low, high in utterance.waveform],
        "runs": [_run(results, stages, run) for run in utterance.runs],
    }


def _run(results: Results, stages: list[str], run: TimelineRun) -> dict[str, Any]:
    return {
        "name": f"{results.system(run.system).label}, {run.policy_label}, {run.segment_ms:g} ms",
        "forced": not results.is_trained(run),
        # audio in ms, words written, the computing time of each stage
        "segments": [
            [
                round(segment.audio_ms, 2),
                segment.num_words,
                [round(segment.costs.get(stage, 0.0), 2) for stage in stages],
            ]
            for segment in run.segments
        ],
        # text, segment, delay, then for each reading the ends of the parts of the delay.
        # Ends, not lengths: rounded lengths would no longer add up to the rounded total.
        "words": [
            [
                word.text,
                word.segment,
                round(word.delay_ms, 2),
                *(
                    [round(end, 2) for end in accumulate(parts_of(getattr(word, reading), stages))]
                    for reading in READINGS
                ),
            ]
            for word in run.words
        ],
    }


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")
