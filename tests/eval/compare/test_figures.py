"""The figures for papers: well-formed, the same bytes again, text as text, untrained left out."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import pytest

from eval.compare.figures import (
    compute_against_length,
    compute_against_position,
    quality_against_latency,
    state_against_length,
    write_figures,
)

from .hostile import ATTACKS, hostile_results
from .synthetic import read_results, synthetic_results

RESULTS = synthetic_results(utterances=1, runs=2)
DRAWN = {
    "quality-latency.svg": ["LAAL (ms)", "BLEU", "EchoStream tiny, wait-k k=3"],
    "compute-position.svg": ["place in the recording (s)", "real time: 320 ms", "1000"],
    "compute-length.svg": ["compute RTF", "real time", "StreamSpeech tiny, cached", "0.1"],
    "state-length.svg": ["state (KiB)", "EchoStream base"],
}


def texts(svg: str) -> list[str]:
    """Every text of the drawing."""
    elements = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    return ["".join(element.itertext()).strip() for element in elements]


def test_every_figure_has_its_words(tmp_path: Path) -> None:
    written = write_figures(read_results(RESULTS), tmp_path / "figures")
    assert [path.name for path in written] == list(DRAWN)
    for path in written:
        found = texts(path.read_text(encoding="utf-8"))
        assert set(DRAWN[path.name]) <= set(found), path.name


def test_the_same_bytes_again_whatever_the_settings_are() -> None:
    results = read_results(RESULTS)
    once = quality_against_latency(results), compute_against_length(results)
    with matplotlib.rc_context({"font.size": 20, "lines.linewidth": 5, "svg.hashsalt": "other"}):
        again = quality_against_latency(results), compute_against_length(results)
        assert matplotlib.rcParams["font.size"] == 20
    assert once == again
    assert "dc:date" not in str(once[0])


def test_untrained_systems_have_no_quality() -> None:
    drawn = texts(quality_against_latency(read_results(RESULTS)) or "")
    labels = {label.rpartition(", ")[0] for label in drawn if label.endswith(", ctc")}
    assert labels == {"EchoStream tiny", "StreamSpeech tiny", "StreamSpeech tiny, cached"}


def test_nothing_to_draw(tmp_path: Path) -> None:
    results = copy.deepcopy(RESULTS)
    for system in results["systems"]:
        system["trained"] = False
    results["lengths"] = results["utterances"] = []
    read = read_results(results)
    assert quality_against_latency(read) is None
    assert compute_against_position(read) is compute_against_length(read) is None
    assert state_against_length(read) is None
    assert write_figures(read, tmp_path) == []
    assert quality_against_latency(read_results(RESULTS), x="Unknown") is None


def without(results: dict[str, Any]) -> dict[str, Any]:
    """The first point without intervals, ellipse and BLEU; the next with a value outside."""
    first, second = results["points"][:2]
    first["joint"] = None
    first["figures"]["BLEU"] |= {"value": None, "low": None, "high": None}
    second["figures"]["LAAL"] |= {"low": second["figures"]["LAAL"]["value"] + 1}
    return results


def test_what_is_missing_is_left_out() -> None:
    read = read_results(without(copy.deepcopy(RESULTS)))
    assert quality_against_latency(read)
    assert state_against_length(read)


# The labels are longer than the paper is wide, which no one needs to be told.
@pytest.mark.filterwarnings("ignore:constrained_layout not applied")
def test_hostile_text_is_only_text(tmp_path: Path) -> None:
    written = write_figures(read_results(hostile_results()), tmp_path)
    assert len(written) == 4
    for path in written:
        svg = path.read_text(encoding="utf-8")
        root = ElementTree.fromstring(svg)
        tags = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert not tags & {"script", "img", "image", "a", "foreignObject"}
        assert not any(name.startswith("on") for e in root.iter() for name in e.attrib)
    joined = " ".join(texts((tmp_path / "compute-length.svg").read_text(encoding="utf-8")))
    assert "$x^2$" in joined and ATTACKS[0] in joined
