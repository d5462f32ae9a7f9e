"""The page as a file: alone, closed to the network, and deaf to orders in the results."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.compare.embedded import embedded_json
from eval.compare.page import page, quality_note, summary
from eval.compare.schema import Delay, Results

from .hostile import ATTACKS, hostile_results
from .synthetic import synthetic_results

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
    text = page(RESULTS)
    addresses = set(re.findall(r"(?:https?:)?//[\w.]+\.\w+[^\s\"')]*", text))
    assert addresses == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"url\(|@import|@font-face|\bfetch\(|XMLHttpRequest|import\(", text)
    for tag, attributes in Elements(text).found:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base"), tag
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")


def test_only_its_own_script_may_run() -> None:
    elements = Elements(page(RESULTS))
    _, script = elements.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = (a["content"] for tag, a in elements.found if "http-equiv" in a)
    assert policy is not None
    assert "default-src 'none'" in policy and f"script-src 'sha256-{digest}'" in policy


def test_links_and_labels_have_their_targets() -> None:
    found = Elements(page(RESULTS)).found
    names = [attributes["id"] for _, attributes in found if "id" in attributes]
    assert len(set(names)) == len(names)
    wanted = [(a.get("href") or "#")[1:] for tag, a in found if tag == "a"]
    wanted += [a["for"] or "" for _, a in found if "for" in a]
    assert len(wanted) > 10 and set(wanted) <= set(names)


def test_hostile_text_is_only_text() -> None:
    results = hostile_results()
    elements, plain = Elements(page(results)), Elements(page(RESULTS))
    assert {tag for tag, _ in elements.found} <= {tag for tag, _ in plain.found}
    assert len(elements.scripts) == 2
    assert not any(name.startswith("on") for _, a in elements.found for name in a)
    said = "".join(elements.text)
    for attack in ATTACKS:
        assert attack in said
    assert results.command in said and results.machine[ATTACKS[0]] in said


def test_summary_is_made_from_the_numbers() -> None:
    points = [point for point in RESULTS.points if point.policy == "ctc"][:4]
    assert summary(replace(RESULTS, points=tuple(points))).startswith(
        "5 systems translated 185 recordings (528 s) of test part of es-en with the policy ctc in "
        "segments of 160, 320 and 640 ms. Quality is compared only for trained systems that choose "
        "their own words, here EchoStream tiny, StreamSpeech tiny and StreamSpeech tiny, cached. "
        "Not trained are EchoStream base and StreamSpeech: they write the reference"
    )


@pytest.mark.parametrize("trained", [0, 1])
def test_what_is_not_trained_is_said(trained: int) -> None:
    systems = (replace(each, trained=n < trained) for n, each in enumerate(RESULTS.systems))
    results = replace(RESULTS, systems=tuple(systems))
    note, text = quality_note(results), page(results)
    if trained:
        assert "its policies and segment sizes with each other" in note
    else:
        assert note.startswith("No system here has trained weights, so quality is not compared")
    assert ('id="tradeoff"' in text) == bool(trained)
    assert note in "".join(Elements(text).text)


def test_results_without_parts() -> None:
    empty = replace(RESULTS, points=(), paired=(), lengths=(), utterances=())
    said = "".join(Elements(page(empty)).text)
    assert said.count("Not measured.") == 2 and "None were kept." in said


STAGES = ["front_end", "encoder", "heads", "decoder", "policy"]


def embedded(results: Results) -> Any:
    return json.loads(embedded_json(results))


@settings(deadline=None, max_examples=20)
@given(st.lists(st.floats(0, 5000), min_size=6, max_size=6))
def test_rounded_parts_add_up_to_the_rounded_total(parts: list[float]) -> None:
    utterance = RESULTS.utterances[0]
    run = utterance.runs[0]
    delay = Delay(parts[0], dict(zip(STAGES, parts[1:], strict=True)))
    run = replace(run, words=(replace(run.words[0], real_time=delay),))
    results = replace(RESULTS, points=(), utterances=(replace(utterance, runs=(run,)),))
    ends = embedded(results)["utterances"][0]["runs"][0]["words"][0][4]
    assert ends[-1] == pytest.approx(sum(parts), abs=0.0051)
    for part, (left, right) in zip(parts, pairwise([0.0, *ends]), strict=True):
        assert right - left == pytest.approx(part, abs=0.0102)
        assert right >= left


def test_what_is_drawn_is_what_was_measured() -> None:
    run, drawn = RESULTS.utterances[0].runs[0], embedded(RESULTS)["utterances"][0]["runs"][0]
    word, shown = run.words[5], drawn["words"][5]
    assert shown[:3] == [word.text, word.segment, round(word.delay_ms, 2)]
    for delay, ends in zip((word.elapsed, word.real_time), shown[3:], strict=True):
        assert ends[0] == pytest.approx(delay.waiting_ms, abs=0.006)
        assert ends[5] == pytest.approx(delay.total_ms, abs=0.006)

    segment = run.segments[-1]
    costs = [round(segment.costs[stage], 2) for stage in STAGES]
    assert drawn["segments"][-1] == [round(segment.audio_ms, 2), segment.num_words, costs]


def test_a_stage_that_nobody_has_heard_of_is_drawn() -> None:
    lengths = []
    for run in RESULTS.lengths:
        first, *others = run.segments
        others = [replace(each, costs={**each.costs, "vocoder": 2.5}) for each in others]
        lengths.append(replace(run, segments=(first, *others)))
    content = embedded(replace(RESULTS, lengths=tuple(lengths)))
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
    lengths = [run for run in RESULTS.lengths if (run.system, run.seconds) != ("streamspeech", 60)]
    content = embedded(replace(RESULTS, lengths=tuple(lengths[::-1])))
    assert [run["seconds"] for run in content["positions"]] == [60, 60, 60, 60, 45]
    for run in content["lengths"]:
        lengths = [point[0] for point in run["points"]]
        assert lengths == sorted(lengths)


def test_the_text_cannot_leave_its_element() -> None:
    text = embedded_json(hostile_results())
    assert not set("<>&\u2028\u2029\n") & set(text)
    label = json.loads(text)["systems"][0]
    assert label == "".join(ATTACKS)
