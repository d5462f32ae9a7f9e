"""The numbers inside the page: rounded without lies, small, and safe inside a script element."""

from __future__ import annotations

import copy
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.compare.embedded import embedded_json

from .hostile import ATTACKS, hostile_results
from .synthetic import read_results, synthetic_results

RESULTS = synthetic_results(utterances=1, runs=1)
STAGES = ["front_end", "encoder", "heads", "decoder", "policy"]


def embedded(results: dict[str, Any]) -> Any:
    return json.loads(embedded_json(read_results(results)))


@settings(deadline=None, max_examples=20)
@given(st.lists(st.floats(0, 5000), min_size=6, max_size=6))
def test_rounded_parts_add_up_to_the_rounded_total(parts: list[float]) -> None:
    results = copy.deepcopy(RESULTS)
    results["points"] = results["lengths"] = results["paired"] = []
    (run,) = results["utterances"][0]["runs"]
    word = run["words"][0]
    costs = dict(zip(STAGES, parts[1:], strict=True))
    word["real_time"] = {"waiting_ms": parts[0], "costs": costs}
    run["words"] = [word]

    ends = embedded(results)["utterances"][0]["runs"][0]["words"][0][4]
    assert ends[-1] == pytest.approx(sum(parts), abs=0.0051)
    for part, (left, right) in zip(parts, pairwise([0.0, *ends]), strict=True):
        assert right - left == pytest.approx(part, abs=0.0102)
        assert right >= left


def test_what_is_drawn_is_what_was_measured() -> None:
    content = embedded(RESULTS)
    word = RESULTS["utterances"][0]["runs"][0]["words"][5]
    drawn = content["utterances"][0]["runs"][0]["words"][5]
    assert drawn[:3] == [word["text"], word["segment"], round(word["delay_ms"], 2)]
    for reading, ends in zip(("elapsed", "real_time"), drawn[3:], strict=True):
        assert ends[0] == pytest.approx(word[reading]["waiting_ms"], abs=0.006)
        total = word[reading]["waiting_ms"] + sum(word[reading]["costs"].values())
        assert ends[5] == pytest.approx(total, abs=0.006)

    segment = RESULTS["utterances"][0]["runs"][0]["segments"][-1]
    assert content["utterances"][0]["runs"][0]["segments"][-1] == [
        round(segment["audio_ms"], 2),
        segment["num_words"],
        [round(segment["costs"][stage], 2) for stage in STAGES],
    ]


def test_a_stage_that_nobody_has_heard_of_is_drawn() -> None:
    results = copy.deepcopy(RESULTS)
    for run in results["lengths"]:
        for segment in run["segments"][1:]:
            segment["costs"]["vocoder"] = 2.5
    content = embedded(results)
    assert content["parts"][1:] == ["front end", "encoder", "heads", "decoder", "policy", "vocoder"]
    assert [point[-1] for point in content["positions"][0]["points"][:2]] == [0.0, 2.5]
    word = content["utterances"][0]["runs"][0]["words"][0]
    assert all(len(ends) == 7 and ends[-1] == ends[-2] for ends in word[3:])


def test_only_points_whose_quality_can_be_compared_are_drawn() -> None:
    results = copy.deepcopy(RESULTS)
    results["points"][0]["forced"] = True
    points = embedded(results)["tradeoff"]["points"]
    trained = [place for place, system in enumerate(results["systems"]) if system["trained"]]
    assert sorted({point["system"] for point in points}) == trained == [0, 2, 3]
    assert len(points) == 3 * 6 - 1


def test_axes_offer_what_there_is() -> None:
    tradeoff = embedded(RESULTS)["tradeoff"]
    assert [metric["name"] for metric in tradeoff["y"]] == ["BLEU", "chrF", "WER"]
    names = ["LAAL", "LAAL_CA", "LAAL_RT", "AL", "YAAL", "ATD"]
    assert [metric["name"] for metric in tradeoff["x"]] == names
    assert tradeoff["x"][0]["title"] == "LAAL (ms)"


def test_runs_that_write_the_reference_are_marked() -> None:
    results = synthetic_results(utterances=1, runs=5)
    runs = embedded(results)["utterances"][0]["runs"]
    assert [run["forced"] for run in runs] == [False, True, False, False, True]


def test_the_longest_recording_of_each_system() -> None:
    results = copy.deepcopy(RESULTS)
    results["lengths"] = [
        run for run in results["lengths"] if (run["system"], run["seconds"]) != ("streamspeech", 60)
    ][::-1]
    content = embedded(results)
    assert [run["seconds"] for run in content["positions"]] == [60, 60, 60, 60, 45]
    for run in content["lengths"]:
        lengths = [point[0] for point in run["points"]]
        assert lengths == sorted(lengths)


def test_the_text_cannot_leave_its_element() -> None:
    text = embedded_json(read_results(hostile_results()))
    assert not set("<>&\u2028\u2029\n") & set(text)
    label = json.loads(text)["systems"][0]
    assert label == "".join(ATTACKS)
