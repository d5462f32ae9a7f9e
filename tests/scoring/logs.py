"""Logs for the tests: by hand, and random ones as an evaluator would write them."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from echostream.scoring.instance import Instance

SOURCE = ["clips/a.wav", "samplerate: 16000 Hz", "channels: 1"]


def record(**changes: Any) -> dict[str, Any]:
    """A line of a log as SimulEval writes it, with changes; a change to None removes the key."""
    line = {
        "index": 0,
        "prediction": "one two three",
        "delays": [320.0, 640.0, 1000.0],
        "elapsed": [330.0, 660.0, 1030.0],
        "reference": "one two three four",
        "source": SOURCE,
        "source_length": 1000.0,
        **changes,
    }
    if isinstance(line["delays"], list):
        line.setdefault("prediction_length", len(line["delays"]))
    return {key: value for key, value in line.items() if value is not None}


def write_log(path: Path, records: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in records), encoding="utf-8")
    return path


def utterance(
    delays: Iterable[float],
    source_length: float,
    reference_length: int,
    elapsed: Iterable[float] | None = None,
    index: int = 0,
) -> Instance:
    """An instance of which only the numbers matter; ``elapsed`` is ``delays`` unless given."""
    delays = tuple(delays)
    return Instance(
        index=index,
        prediction=" ".join(["word"] * len(delays)),
        reference=" ".join(["word"] * reference_length),
        delays=delays,
        elapsed=delays if elapsed is None else tuple(elapsed),
        source_length=source_length,
        source="a.wav",
    )


def as_record(instance: Instance) -> dict[str, Any]:
    return record(
        index=instance.index,
        prediction=instance.prediction,
        delays=list(instance.delays),
        elapsed=list(instance.elapsed),
        prediction_length=len(instance.delays),
        reference=instance.reference,
        source_length=instance.source_length,
    )


@st.composite
def utterances(draw: st.DrawFn, min_words: int = 1, index: int = 0) -> Instance:
    """Words written at ends of segments, or at the end of the source; some compute time each."""
    rate = draw(st.sampled_from([16_000, 44_100, 8_000]))
    samples = draw(st.integers(rate // 10, 12 * rate))
    segment = draw(st.sampled_from([40, 320, 333, 1000])) * rate // 1000
    source_length = samples * 1000 / rate
    steps = draw(st.lists(st.integers(1, samples // segment + 1), min_size=min_words, max_size=25))
    delays = [min(step * segment, samples) * 1000 / rate for step in sorted(steps)]
    spent = 0.0
    elapsed: list[float] = []
    for position, delay in enumerate(delays):
        if position == 0 or delay != delays[position - 1]:
            spent += draw(st.floats(0.5, 900))
        elapsed.append(delay + spent)
    reference_length = draw(st.integers(1, 25))
    return utterance(delays, source_length, reference_length, elapsed, index)


@st.composite
def corpora(draw: st.DrawFn) -> list[Instance]:
    """Up to five utterances with indices from 0, of which some may be empty, but not the first."""
    number = draw(st.integers(1, 5))
    return [draw(utterances(min_words=int(index == 0), index=index)) for index in range(number)]
