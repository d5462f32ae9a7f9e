"""The page as a file: alone, closed to the network, and deaf to orders in the results."""

import base64
import copy
import hashlib
import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.compare.embedded import embedded_json
from eval.compare.page import page, quality_note, summary

from .hostile import ATTACKS, hostile_results
from .synthetic import read_results, synthetic_results

RESULTS = synthetic_results(utterances=2, runs=2)


class Elements(HTMLParser):
    """All elements with their attributes, and all text outside of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self.open = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.open = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.open = ""

    def handle_data(self, data: str) -> None:
        if self.open == "script":
            self.scripts[-1] += data
        elif self.open != "style":
            self.text.append(data)


def test_it_needs_nothing_else() -> None:
    text = page(read_results(RESULTS))
    addresses = set(re.findall(r"(?:https?:)?//[\w.]+\.\w+[^\s\"')]*", text))
    assert addresses == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"url\(|@import|@font-face|\bfetch\(|XMLHttpRequest|import\(", text)
    for tag, attributes in Elements(text).found:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base"), tag
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")


def test_only_its_own_script_may_run() -> None:
    elements = Elements(page(read_results(RESULTS)))
    _, script = elements.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = (a["content"] for tag, a in elements.found if "http-equiv" in a)
    assert policy is not None
    assert "default-src 'none'" in policy and f"script-src 'sha256-{digest}'" in policy


def test_links_and_labels_have_their_targets() -> None:
    found = Elements(page(read_results(RESULTS))).found
    names = [attributes["id"] for _, attributes in found if "id" in attributes]
    assert len(set(names)) == len(names)
    wanted = [(a.get("href") or "#")[1:] for tag, a in found if tag == "a"]
    wanted += [a["for"] or "" for _, a in found if "for" in a]
    assert len(wanted) > 10 and set(wanted) <= set(names)


def test_hostile_text_is_only_text() -> None:
    results = hostile_results()
    text = page(read_results(results))
    elements = Elements(text)
    plain = Elements(page(read_results(RESULTS)))
    assert {tag for tag, _ in elements.found} <= {tag for tag, _ in plain.found}
    assert len(elements.scripts) == 2
    assert not any(name.startswith("on") for _, a in elements.found for name in a)
    said = "".join(elements.text)
    for attack in ATTACKS:
        assert attack in said
    assert results["command"] in said and results["machine"][ATTACKS[0]] in said


def test_summary_is_made_from_the_numbers() -> None:
    results = copy.deepcopy(RESULTS)
    results["points"] = [p for p in results["points"] if p["policy"] == "ctc"][:4]
    read = read_results(results)
    assert summary(read).startswith(
        "5 systems translated 185 recordings (528 s) of test part of es-en with the policy ctc in "
        "segments of 160, 320 and 640 ms. Quality is compared only for trained systems that choose "
        "their own words, here EchoStream tiny, StreamSpeech tiny and StreamSpeech tiny, cached. "
        "Not trained are EchoStream base and StreamSpeech: they write the reference"
    )


@pytest.mark.parametrize("trained", [0, 1])
def test_what_is_not_trained_is_said(trained: int) -> None:
    results = copy.deepcopy(RESULTS)
    for place, system in enumerate(results["systems"]):
        system["trained"] = place < trained
    note = quality_note(read_results(results))
    text = page(read_results(results))
    if trained:
        assert "its policies and segment sizes with each other" in note
    else:
        assert note.startswith("No system here has trained weights, so quality is not compared")
    assert ('id="tradeoff"' in text) == bool(trained)
    assert note in "".join(Elements(text).text)


def empty() -> dict[str, Any]:
    results = copy.deepcopy(RESULTS)
    for part in ("points", "paired", "lengths", "utterances"):
        results[part] = []
    return results


def test_results_without_parts() -> None:
    said = "".join(Elements(page(read_results(empty()))).text)
    assert said.count("Not measured.") == 2 and "None were kept." in said


STAGES = ["front_end", "encoder", "heads", "decoder", "policy"]


def embedded(results: dict[str, Any]) -> Any:
    return json.loads(embedded_json(read_results(results)))


@settings(deadline=None, max_examples=20)
@given(st.lists(st.floats(0, 5000), min_size=6, max_size=6))
def test_rounded_parts_add_up_to_the_rounded_total(parts: list[float]) -> None:
    results = copy.deepcopy(RESULTS)
    results["points"] = results["lengths"] = results["paired"] = []
    run = results["utterances"][0]["runs"][0]
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
    points = embedded(RESULTS)["tradeoff"]["points"]
    assert sorted({point["system"] for point in points}) == [0, 2, 3]
    assert len(points) == 3 * 6


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
