"""Made-up results of a comparison: 5 systems, 2 policies, 3 segment sizes.

The shapes are those of real measurements: a recomputing encoder costs more with every segment, a
stateful one does not.
"""

import math
from typing import Any

from echostream.scoring.significance import JointDistribution
from echostream.session.segment_log import SegmentRecord
from eval.command import FORMAT
from eval.compare.schema import (
    Data,
    Joint,
    LengthRun,
    Paired,
    Point,
    Results,
    Score,
    SegmentCost,
    System,
    TimelineRun,
    Utterance,
)
from eval.compare.timelines import timeline_words

SEGMENTS = (160, 320, 640)
POLICIES: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("ctc", {}, "ctc"),
    ("wait-k", {"k": 3}, "wait-k k=3"),
)
SYSTEMS = tuple(
    System(name, label, "a family", mode, "checkpoints/tiny-es-en", trained, parameters, 40.0)
    for name, label, mode, trained, parameters in (
        ("echostream-tiny", "EchoStream tiny", "stateful", True, 3_664_000),
        ("echostream-base", "EchoStream base", "stateful", False, 42_150_000),
        ("streamspeech-tiny", "StreamSpeech tiny", "recompute", True, 3_700_000),
        ("tiny-cached", "StreamSpeech tiny, cached", "cached", True, 3_700_000),
        ("streamspeech", "StreamSpeech", "recompute", False, 33_000_000),
    )
)
TEXTS = (
    ("por favor espere mientras le transferimos la llamada",
     "please wait while we transfer your call to the next available person"),
    ("el número que ha marcado no es válido", "the number you have dialed is not valid"),
    ("introduzca su contraseña y pulse la tecla almohadilla",
     "please enter your password and then press the pound key"),
)  # fmt: skip
LENGTHS = (5, 10, 15, 30, 45, 60)
STATE_BYTES = {"stateful": 460_000, "cached": 900_000, "recompute": 1_900_000}


def synthetic_results(utterances: int, runs: int) -> Results:
    """``runs`` is how many each utterance has."""
    return Results(
        format=FORMAT,
        created="2026-11-22T18:00:00+00:00",
        command="python -m eval.compare --data data/es-en --output runs/compare",
        machine={"cpu": "a processor", "cores": 2},
        versions={"python": "3.11.7"},
        resampling={"resamples": 1000, "seed": 12345},
        data=Data("test part of es-en", 185, 528.0, "References are lower-cased."),
        systems=SYSTEMS,
        points=tuple(
            _point(place, *policy, segment)
            for place in range(len(SYSTEMS))
            for policy in POLICIES
            for segment in SEGMENTS
        ),
        paired=tuple(
            _paired(b, segment, *metric)
            for b, segment in [(2, 320), (3, 320), (2, 640), (4, 320)]
            for metric in [("BLEU", "higher", 1.2), ("LAAL", "lower", -40.0)]
        ),
        lengths=tuple(_length(system, seconds) for system in SYSTEMS for seconds in LENGTHS),
        utterances=tuple(_utterance(index, runs) for index in range(utterances)),
    )


def _point(place: int, policy: str, options: dict[str, Any], label: str, segment: int) -> Point:
    system = SYSTEMS[place]
    laal = 700 + 1.6 * segment + 500 * (policy == "wait-k") + 90 * place
    quality = 17.5 - 2.2 * place - 2400 / laal
    slow = (4.0 if system.mode == "recompute" else 0.15) * 320 / segment
    figures = {
        "BLEU": (quality if system.trained else 0.1, 1.0, ""),
        "chrF": (24 + 1.4 * quality, 1.2, ""),
        "WER": (96 - 2.1 * quality, 1.5, "%"),
        "LAAL": (laal, 60.0, "ms"),
        "LAAL_CA": (laal + 250 * slow, 90.0, "ms"),
        "LAAL_RT": (laal + 60 * slow, 70.0, "ms"),
        "AL": (laal - 120, 70.0, "ms"),
        "ATD": (laal * 0.8, 50.0, "ms"),
        "YAAL": (laal - 60, 65.0, "ms"),
        "compute_RTF": (0.07 * slow, 0.004, ""),
    }
    joint = JointDistribution((laal, figures["BLEU"][0]), ((3600.0, 18.0), (18.0, 1.0)))
    return Point(
        system=system.name,
        policy=policy,
        policy_options=options,
        policy_label=label,
        segment_ms=segment,
        forced=not system.trained,
        log=f"runs/{system.name}/{policy}/{segment}/instances.log",
        instances=185,
        degenerate=policy == "wait-k" and segment == 640 and place == 2,
        figures={
            name: Score(
                value, value - 2 * error, value + 2 * error, unit, f"{name}|seg:{segment}ms"
            )
            for name, (value, error, unit) in figures.items()
        },
        joint=Joint("LAAL", "BLEU", joint),
    )


def _paired(b: int, segment: int, metric: str, better: str, size: float) -> Paired:
    """The more places between the two systems, the further apart they are."""
    difference, spread = size * (b - 1), abs(size) * 1.1
    ends = (difference - spread, difference + spread)
    a, other = SYSTEMS[0].name, SYSTEMS[b].name
    return Paired(a, other, "ctc", segment, metric, difference, *ends, 0.02, better)


def _costs(system: System, heard_ms: float, slower: float = 1.0) -> dict[str, float]:
    """Computing time of the segment that ends at ``heard_ms``."""
    large, heard = system.parameters / 40e6, heard_ms / 1000
    if system.mode == "recompute":
        encoder = 15 * large + 6 + heard * (18 * large + 2) + heard**2
    else:
        encoder = 6 + 38 * large + 5 * (system.mode == "cached")
    costs = {"front_end": 0.45, "encoder": encoder * slower, "heads": 0.4, "decoder": 0.7}
    return costs | {"policy": 0.05}


def _length(system: System, seconds: int) -> LengthRun:
    ends = [min(320 * k, 1000 * seconds) for k in range(1, math.ceil(seconds / 0.32) + 1)]
    segments = (SegmentCost(end, _costs(system, end), STATE_BYTES[system.mode]) for end in ends)
    return LengthRun(system.name, seconds, 320, 3, tuple(segments))


def _utterance(index: int, runs: int) -> Utterance:
    source, reference = TEXTS[index % len(TEXTS)]
    length = 3000 + 400 * (index % 5) + 60.5
    loud = [abs(math.sin(k * (9 + index) / 400)) / 2 for k in range(400)]
    return Utterance(
        index=index,
        id=f"asterisk/vm-{index:02d}",
        seconds=length / 1000,
        source_text=source,
        reference=reference,
        waveform=tuple((-value, value * 0.9) for value in loud),
        runs=tuple(_run(SYSTEMS[k], length, reference) for k in range(runs)),
    )


def _run(system: System, length: float, reference: str) -> TimelineRun:
    """Writes the reference evenly from the fourth segment on; one system cannot keep up."""
    texts = reference.split()
    count = math.ceil(length / 320)
    segments: list[SegmentRecord] = []
    written = 0
    for k in range(count):
        heard = min(320.0 * (k + 1), length)
        due = len(texts) if k == count - 1 else max(0, round(len(texts) * (k - 3) / count))
        costs = _costs(system, heard, slower=5.0 if system.name == "streamspeech" else 1.0)
        segments.append(SegmentRecord(heard, costs, due - written))
        written = due
    return TimelineRun(
        system=system.name,
        policy_label="ctc",
        segment_ms=320,
        prediction=reference,
        segments=tuple(segments),
        words=timeline_words(texts, segments),
    )
