"""Results that do not follow the format are refused, and the message says where."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest

from echostream.errors import DataError
from eval.compare.checks import read_results

from .synthetic import synthetic_results

RESULTS = synthetic_results(utterances=2, runs=2)
for length in RESULTS["lengths"]:
    del length["segments"][3:]  # more would only cost time


def changed(path: str, value: Any = ..., results: dict[str, Any] = RESULTS) -> dict[str, Any]:
    """The results with the value at ``points.0.figures`` replaced, or taken out."""
    copied = copy.deepcopy(results)
    place: Any = copied
    *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in way:
        place = place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return copied


def paths(value: Any, way: tuple[str, ...] = ()) -> list[str]:
    """Every key of the results, looking into the first item of each list."""
    found = []
    if isinstance(value, dict):
        for key, item in value.items():
            found += [".".join((*way, key)), *paths(item, (*way, key))]
    elif isinstance(value, list) and value:
        found += paths(value[0], (*way, "0"))
    return found


FREE = ("machine.", "policy_options.", "points.0.figures.")
"""Keys that may or may not be there."""
REQUIRED = [
    path
    for path in paths(RESULTS)
    if not any(path.startswith(free) or f".{free}" in path for free in FREE)
] + ["points.0.figures.BLEU.value", "points.0.figures.BLEU.signature"]


def test_good_results_are_read() -> None:
    read = read_results(RESULTS)
    assert [system.name for system in read.systems] == [s["name"] for s in RESULTS["systems"]]
    assert read.utterances[1].runs[1].words[0].real_time.parts == tuple(
        RESULTS["utterances"][1]["runs"][1]["words"][0]["real_time"][key]
        for key in (
            "waiting_ms",
            "front_end_ms",
            "encoder_ms",
            "heads_ms",
            "decoder_ms",
            "policy_ms",
        )
    )


def test_the_paths_cover_the_format() -> None:
    assert len(REQUIRED) > 80
    for one in ("paired.0.better", "lengths.0.segments.0.encoder_ms", "points.0.joint.covariance"):
        assert one in REQUIRED


@pytest.mark.parametrize("path", REQUIRED)
def test_every_key_is_required(path: str) -> None:
    way, _, key = path.rpartition(".")
    with pytest.raises(DataError) as caught:
        read_results(changed(path))
    assert repr(key) in str(caught.value) or key == "format"
    where = "results" + "".join(f"[{s}]" if s.isdigit() else f".{s}" for s in way.split(".") if s)
    assert f"{where} has no" in str(caught.value) or key == "format"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("format", "echostream-compare-0", "format is 'echostream-compare-0'"),
        ("points", {}, r"results.points is \{\}; expected a list"),
        ("systems", [], "results.systems is empty"),
        ("systems.0.trained", 1, r"systems\[0\].trained is 1; expected true or false"),
        ("systems.0.parameters", True, "expected a whole number"),
        ("systems.0.label", None, "expected text"),
        ("systems.1.name", "echostream-tiny", "the same name"),
        ("points.0.figures.BLEU.value", "7", r"figures.BLEU.value is '7'; expected a number"),
        ("points.0.figures.BLEU.low", math.nan, "finite"),
        ("points.0.joint.center", [1.0], "center has 1 values; expected 2"),
        ("points.0.system", "other", r"points\[0\].system is 'other'; expected one of"),
        ("paired.1.b", "other", r"paired\[1\].b is 'other'"),
        ("lengths.2.system", "other", r"lengths\[2\].system is 'other'"),
        ("utterances.0.runs.1.system", "other", r"utterances\[0\].runs\[1\].system is 'other'"),
        ("paired.0.better", "more", "expected 'higher' or 'lower'"),
        ("lengths.0.compute_rtf", math.inf, "finite"),
        ("utterances.0.runs.0.words.0.segment", 99, "expected 0 to"),
        ("utterances.0.runs.0.words.0.segment", -1, "expected 0 to"),
        ("utterances.0.waveform.0", [0.0, 0.0, 0.0], "has 3 values; expected 2"),
    ],
)
def test_wrong_values_are_named(path: str, value: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_results(changed(path, value))


@pytest.mark.parametrize("value", [None, [], "text"])
def test_what_is_no_mapping(value: Any) -> None:
    with pytest.raises(DataError, match="expected 'echostream-compare-2'"):
        read_results(value)


@pytest.mark.parametrize(
    "path", ["points.0.figures.BLEU.value", "points.0.joint", "paired.0.p", "lengths.0.state_bytes"]
)
def test_what_was_not_measured_may_be_null(path: str) -> None:
    read_results(changed(path, None))


def test_an_unknown_key_is_left_alone() -> None:
    read_results(changed("points.0.colour", "red"))


@pytest.mark.parametrize("reading", ["elapsed", "real_time"])
@pytest.mark.parametrize("sign", [1, -1])
def test_parts_must_add_up(reading: str, sign: int) -> None:
    path = f"utterances.1.runs.1.words.3.{reading}.total_ms"
    total = RESULTS["utterances"][1]["runs"][1]["words"][3][reading]["total_ms"]
    read_results(changed(path, total * (1 + sign * 0.9e-6)))
    with pytest.raises(
        DataError, match=rf"utterances\[1\].runs\[1\].words\[3\].{reading} add up to"
    ):
        read_results(changed(path, total * (1 + sign * 1.2e-6)))


def test_no_part_is_negative() -> None:
    wrong = copy.deepcopy(RESULTS)
    delay = wrong["utterances"][0]["runs"][0]["words"][0]["elapsed"]
    delay["waiting_ms"] += delay["policy_ms"] + 1
    delay["policy_ms"] = -1.0
    with pytest.raises(DataError, match="has a part of -1.0 ms"):
        read_results(wrong)
