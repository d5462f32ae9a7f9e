"""The numbers that the page draws, as compact as they can be: rounded, lists where keys say little.

Lists and their order are described where they are made; ``assets/*.js`` reads them in that order.
"""

from __future__ import annotations

import json
from itertools import accumulate
from typing import Any

from eval.compare import metrics
from eval.compare.ellipse import confidence_ellipse
from eval.compare.schema import (
    READINGS,
    LengthRun,
    Point,
    Results,
    TimelineRun,
    Utterance,
)

DIGITS = 5
"""Significant digits of what is only drawn."""


def embedded_json(results: Results) -> str:
    """All of it as JSON that is safe inside ``<script type="application/json">``."""
    content = {
        "systems": [system.label for system in results.systems],
        "tradeoff": tradeoff(results),
        "positions": [
            {
                "system": _place(results, run.system),
                "segment_ms": run.segment_ms,
                "seconds": run.seconds,
                # position in s, then the five parts of the computing time in ms
                "points": [
                    [
                        _short(cost.audio_ms / 1000),
                        _short(cost.front_end_ms),
                        _short(cost.encoder_ms),
                        _short(cost.heads_ms),
                        _short(cost.decoder_ms),
                        _short(cost.policy_ms),
                    ]
                    for cost in run.segments
                ],
            }
            for run in longest_runs(results)
        ],
        "lengths": [
            {
                "system": _place(results, runs[0].system),
                "segment_ms": runs[0].segment_ms,
                # length in s, compute RTF, state in bytes
                "points": [[run.seconds, _short(run.compute_rtf), run.state_bytes] for run in runs],
            }
            for runs in runs_by_system(results)
        ],
        "utterances": [_utterance(results, utterance) for utterance in results.utterances],
    }
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # `</script>` and `<!--` end or bend the element wherever they stand.
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text


def runs_by_system(results: Results) -> list[list[LengthRun]]:
    """The runs of each system and segment size, from short to long recordings."""
    groups: dict[tuple[str, float], list[LengthRun]] = {}
    for run in sorted(results.lengths, key=lambda run: run.seconds):
        groups.setdefault((run.system, run.segment_ms), []).append(run)
    order = [system.name for system in results.systems]
    return [groups[key] for key in sorted(groups, key=lambda key: (order.index(key[0]), key[1]))]


def longest_runs(results: Results) -> list[LengthRun]:
    """The run over the longest recording of each system and segment size."""
    return [runs[-1] for runs in runs_by_system(results)]


def tradeoff(results: Results) -> dict[str, Any]:
    """The points whose quality can be compared, and the metrics for either axis."""
    compared = [point for point in results.points if results.comparable(point)]
    units = {name: score.unit for point in compared for name, score in point.figures.items()}
    names = metrics.names_in(compared)

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
        "system": _place(results, point.system),
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
            "corners": [[_short(x), _short(y)] for x, y in confidence_ellipse(joint)],
        },
    }


def _utterance(results: Results, utterance: Utterance) -> dict[str, Any]:
    return {
        "id": utterance.id,
        "seconds": utterance.seconds,
        "source": utterance.source_text,
        "reference": utterance.reference,
        # lowest and highest sample in hundredths of full scale
        "waveform": [[round(100 * low), round(100 * high)] for low, high in utterance.waveform],
        "runs": [_run(results, run) for run in utterance.runs],
    }


def _run(results: Results, run: TimelineRun) -> dict[str, Any]:
    return {
        "name": f"{results.system(run.system).label}, {run.policy_label}, {run.segment_ms:g} ms",
        "forced": results.forced(run),
        # audio and arrival in ms, the five parts of the computing time, words written, reason
        "segments": [
            [
                *(round(value, 2) for value in (segment.audio_ms, segment.arrival_ms)),
                *(
                    round(value, 2)
                    for value in (
                        segment.front_end_ms,
                        segment.encoder_ms,
                        segment.heads_ms,
                        segment.decoder_ms,
                        segment.policy_ms,
                    )
                ),
                segment.words,
                segment.reason,
            ]
            for segment in run.segments
        ],
        # text, segment, delay, then for each reading the ends of the six parts of the delay.
        # Ends, not lengths: rounded lengths would no longer add up to the rounded total.
        "words": [
            [
                word.text,
                word.segment,
                round(word.delay_ms, 2),
                *(
                    [round(end, 2) for end in accumulate(getattr(word, reading).parts)]
                    for reading in READINGS
                ),
            ]
            for word in run.words
        ],
    }


def _place(results: Results, name: str) -> int:
    return [system.name for system in results.systems].index(name)


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")
