"""Made-up results of a comparison as plain values: 5 systems, 2 policies, 3 segment sizes.

The shapes are those of real measurements (a recomputing encoder costs more with every segment, a
stateful one does not), the numbers are drawn from a seed.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from eval.command import FORMAT
from eval.compare.schema import Results

SEGMENTS = (160, 320, 640)
POLICIES: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("ctc", {}, "ctc"),
    ("wait-k", {"k": 3}, "wait-k k=3"),
)
SYSTEMS = (
    ("echostream-tiny", "EchoStream tiny", "echostream", "stateful", True, 3_664_000, 20.0),
    ("echostream-base", "EchoStream base", "echostream", "stateful", False, 42_150_000, 20.0),
    ("streamspeech-tiny", "StreamSpeech tiny", "streamspeech", "recompute", True, 3_700_000, 40.0),
    ("streamspeech-tiny-cached", "StreamSpeech tiny, cached", "streamspeech", "cached", True,
     3_700_000, 40.0),
    ("streamspeech", "StreamSpeech", "streamspeech", "recompute", False, 33_000_000, 40.0),
)  # fmt: skip
TEXTS = (
    ("por favor espere mientras le transferimos la llamada",
     "please wait while we transfer your call to the next available person"),
    ("el número que ha marcado no es válido", "the number you have dialed is not valid"),
    ("introduzca su contraseña y pulse la tecla almohadilla",
     "please enter your password and then press the pound key"),
)  # fmt: skip
LENGTHS = (5, 10, 15, 30, 45, 60)
FIGURES = {
    "BLEU": ("", 1.0),
    "chrF": ("", 1.2),
    "WER": ("%", 1.5),
    "LAAL": ("ms", 60.0),
    "LAAL_CA": ("ms", 90.0),
    "LAAL_RT": ("ms", 70.0),
    "AL": ("ms", 70.0),
    "ATD": ("ms", 50.0),
    "YAAL": ("ms", 65.0),
    "compute_RTF": ("", 0.004),
}


def read_results(value: Any, kind: Any = Results) -> Any:
    """Plain values as the dataclasses of the schema."""
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{name: read_results(each, hints[name]) for name, each in value.items()})
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return None if value is None else read_results(value, arguments[0])
    if origin is tuple:
        return tuple(read_results(each, arguments[0]) for each in value)
    if origin is Mapping:
        return {name: read_results(each, arguments[1]) for name, each in value.items()}
    return value


def synthetic_results(utterances: int = 12, runs: int = 5, seed: int = 7) -> dict[str, Any]:
    """The content of a ``results.json``; ``runs`` is how many each utterance has."""
    random = np.random.default_rng(seed)
    results = {
        "format": FORMAT,
        "resampling": {"resamples": 1000, "seed": 12345},
        "created": "2026-11-22T18:00:00+00:00",
        "command": "python -m eval.compare --data data/es-en --output runs/compare",
        "machine": {"cpu": "a processor", "cores": 2},
        "versions": {"python": "3.11.7", "echostream": "0.1.0"},
        "data": {
            "name": "test part of es-en",
            "recordings": 185,
            "seconds": 528.0,
            "note": "Telephone prompts and read speech; references are lower-cased.",
        },
        "systems": [
            {
                "name": name,
                "label": label,
                "family": family,
                "mode": mode,
                "weights": "checkpoints/tiny-es-en" if trained else "random, seed 0",
                "trained": trained,
                "parameters": parameters,
                "frame_ms": frame_ms,
            }
            for name, label, family, mode, trained, parameters, frame_ms in SYSTEMS
        ],
        "points": [
            _point(random, place, policy, options, label, segment)
            for place in range(len(SYSTEMS))
            for policy, options, label in POLICIES
            for segment in SEGMENTS
        ],
        "paired": _paired(random),
        "lengths": [
            _length(random, place, seconds) for place in range(len(SYSTEMS)) for seconds in LENGTHS
        ],
        "utterances": [_utterance(random, index, runs) for index in range(utterances)],
    }
    return json.loads(json.dumps(results))


def _point(
    random: Any, place: int, policy: str, options: dict[str, Any], label: str, segment: int
) -> dict[str, Any]:
    name, trained = SYSTEMS[place][0], SYSTEMS[place][4]
    recompute = SYSTEMS[place][3] == "recompute"
    laal = 700 + 1.6 * segment + 500 * (policy == "wait-k") + 90 * place + random.normal(0, 30)
    quality = 17.5 - 2.2 * place - 2400 / laal + random.normal(0, 0.3)
    slow = (4.0 if recompute else 0.15) * 320 / segment
    values = {
        "BLEU": quality if trained else 0.1,
        "chrF": 24 + 1.4 * quality,
        "WER": 96 - 2.1 * quality,
        "LAAL": laal,
        "LAAL_CA": laal + 250 * slow,
        "LAAL_RT": laal + 60 * slow,
        "AL": laal - 120,
        "ATD": laal * 0.8,
        "YAAL": laal - 60,
        "compute_RTF": 0.07 * slow,
    }
    figures = {
        metric: {
            "value": value,
            "low": value - 1.96 * FIGURES[metric][1],
            "high": value + 1.96 * FIGURES[metric][1],
            "unit": FIGURES[metric][0],
            "signature": f"{metric}|unit:word|seg:{segment}ms|eval:echostream-0.1.0",
        }
        for metric, value in values.items()
    }
    return {
        "system": name,
        "policy": policy,
        "policy_options": options,
        "policy_label": label,
        "segment_ms": segment,
        "forced": not trained,
        "log": f"runs/{name}/{policy}/{segment}/instances.log",
        "instances": 185,
        "degenerate": policy == "wait-k" and segment == 640 and place == 2,
        "figures": figures,
        "joint": {
            "x": "LAAL",
            "y": "BLEU",
            "distribution": {
                "value": [laal, values["BLEU"]],
                "covariance": [[3600.0, 18.0], [18.0, 1.0]],
            },
        },
    }


def _paired(random: Any) -> list[dict[str, Any]]:
    rows = []
    for b, segment in [(2, 320), (3, 320), (2, 640), (4, 320)]:
        for metric, better, size in [("BLEU", "higher", 1.2), ("LAAL", "lower", -40.0)]:
            difference = size * (b - 1) * random.uniform(0.6, 1.8)
            spread = abs(size) * 1.1
            rows.append(
                {
                    "a": SYSTEMS[0][0],
                    "b": SYSTEMS[b][0],
                    "policy_label": "ctc",
                    "segment_ms": segment,
                    "metric": metric,
                    "difference": difference,
                    "low": difference - spread,
                    "high": difference + spread,
                    "p": math.erfc(abs(difference) / spread * 1.96 / math.sqrt(2)),
                    "better": better,
                }
            )
    return rows


def _costs(random: Any, place: int, heard_ms: float) -> dict[str, float]:
    """Computing time of the segment that ends at ``heard_ms``."""
    large = SYSTEMS[place][5] / 40e6
    if SYSTEMS[place][3] == "recompute":
        encoder = 15 * large + 6 + (heard_ms / 1000) * (18 * large + 2) + (heard_ms / 1000) ** 2
    else:
        encoder = 6 + 38 * large + 5 * (SYSTEMS[place][3] == "cached")
    jitter = float(random.uniform(0.92, 1.1))
    return {
        "front_end": 0.45 * jitter,
        "encoder": encoder * jitter,
        "heads": 0.4 * jitter,
        "decoder": 0.7 * jitter,
        "policy": 0.05 * jitter,
    }


def _length(random: Any, place: int, seconds: int) -> dict[str, Any]:
    kept = {"stateful": 460_000, "cached": 900_000, "recompute": 32_000 * seconds}
    segments = [
        {
            "audio_ms": min(320 * k, 1000 * seconds),
            "costs": _costs(random, place, 320 * k),
            "state_bytes": kept[SYSTEMS[place][3]],
        }
        for k in range(1, math.ceil(seconds * 1000 / 320) + 1)
    ]
    return {
        "system": SYSTEMS[place][0],
        "seconds": seconds,
        "segment_ms": 320,
        "repeats": 3,
        "segments": segments,
    }


def _utterance(random: Any, index: int, runs: int) -> dict[str, Any]:
    source, reference = TEXTS[index % len(TEXTS)]
    length = 3000 + 400 * (index % 5) + 60.5
    envelope = np.abs(np.sin(np.linspace(0, 9 + index, 400))) * random.uniform(0.2, 0.7, 400)
    return {
        "index": index,
        "id": f"asterisk/vm-{index:02d}",
        "seconds": length / 1000,
        "source_text": source,
        "reference": reference,
        "waveform": [[-float(e), float(e) * 0.9] for e in envelope],
        "runs": [_run(random, k % len(SYSTEMS), length, reference) for k in range(runs)],
    }


def _run(random: Any, place: int, length: float, reference: str) -> dict[str, Any]:
    texts = reference.split()
    segments: list[dict[str, Any]] = []
    words: list[dict[str, Any]] = []
    spent = dict.fromkeys(_costs(random, place, 0.0), 0.0)
    waiting = free = 0.0
    busy = spent
    count = math.ceil(length / 320)
    for k in range(count):
        heard = min(320.0 * (k + 1), length)
        costs = _costs(random, place, heard)
        if place == 4:  # falls behind the speaker
            costs["encoder"] *= 5
        due = len(texts) if k == count - 1 else max(0, round(len(texts) * (k - 3) / count))
        new = max(0, due - len(words))
        spent = {key: spent[key] + costs[key] for key in spent}
        if heard >= free:
            waiting, busy = heard, dict.fromkeys(busy, 0.0)
        busy = {key: busy[key] + costs[key] for key in busy}
        free = waiting + sum(busy.values())
        segments.append({"audio_ms": heard, "costs": costs, "num_words": new})
        words += [
            {
                "text": text,
                "segment": k,
                "delay_ms": heard,
                "elapsed": {"waiting_ms": heard, "costs": spent},
                "real_time": {"waiting_ms": waiting, "costs": busy},
            }
            for text in texts[len(words) : len(words) + new]
        ]
    return {
        "system": SYSTEMS[place][0],
        "policy_label": "ctc",
        "segment_ms": 320,
        "prediction": " ".join(texts),
        "segments": segments,
        "words": words,
    }
