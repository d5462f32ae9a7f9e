"""The page in a browser: its scripts run, draw what they should, and answer pointer and keys.

Skipped where there is no Chromium.
"""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from eval.compare.page import page

from .browser import CHROMIUM, load
from .hostile import hostile_results
from .synthetic import synthetic_results

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]

DRIVER = """
const seen = {};
const all = (where, what) => [...document.querySelectorAll(`${where} ${what}`)];
const choose = (id, index) => {
  const select = document.getElementById(id);
  select.selectedIndex = index;
  select.dispatchEvent(new Event("change"));
};
const press = (id, key) =>
  document.querySelector(`#${id} > svg`).dispatchEvent(new KeyboardEvent("keydown", { key }));
const tip = (id) => document.querySelector(`#${id} > .tip`).textContent;
const bars = (where = "#words") => all(where, "rect[class^=part]").map((r) => ({
  part: r.getAttribute("class"), x: Number(r.getAttribute("x")), y: Number(r.getAttribute("y")),
  width: Number(r.getAttribute("width")),
}));
const table = () => all("#word-rows", "tr").map((row) => [...row.children].map((cell) =>
  cell.textContent));
setTimeout(() => {
  try {
    look();
  } catch (error) {
    seen.error = String(error);
  }
  document.body.append(Object.assign(document.createElement("pre"), {
    id: "seen", textContent: encodeURIComponent(JSON.stringify(seen)) }));
}, 1000);
function look() {
  seen.marks = all("#tradeoff > svg", ".mark").length;
  seen.hollow = all("#tradeoff > svg", ".hollow").length;
  seen.ellipses = all("#tradeoff", ".ellipse").length;
  choose("choose-x", 1);
  seen.ellipsesOfOther = all("#tradeoff", ".ellipse").length;
  seen.xTitle = all("#tradeoff > svg", ".title")[1].textContent;
  choose("choose-curves", 1);
  seen.legend = all("#tradeoff", ".legend button").map((b) => b.textContent);
  all("#tradeoff", ".legend button")[0].click();
  seen.marksWithoutFirst = all("#tradeoff > svg", ".mark").length;
  seen.pressed = all("#tradeoff", ".legend button")[0].getAttribute("aria-pressed");
  seen.curves = ["position", "length", "state"].map((id) => all(`#${id} > svg`, ".curve").length);
  press("length", "ArrowLeft");
  seen.lastTip = tip("length");
  press("length", "ArrowRight");
  seen.firstTip = tip("length");
  press("length", "Escape");
  seen.noTip = tip("length");

  seen.boxes = all("#lanes", ".box-read, #lanes .box-write").length;
  seen.width = document.querySelector("#lanes > svg").viewBox.baseVal.width;
  seen.blocks = bars("#lanes");
  seen.lanes = all("#lanes", ".title").map((text) => text.textContent);
  const box = document.querySelector("#lanes > svg").getBoundingClientRect();
  const write = document.querySelector("#lanes .box-write").getBoundingClientRect();
  document.querySelector("#lanes > svg").dispatchEvent(new PointerEvent("pointermove", {
    clientX: write.x + write.width / 2, clientY: write.y + 5 }));
  seen.laneTip = tip("lanes");
  choose("choose-run", 2);
  seen.bars = bars();
  seen.rows = table();
  press("words", "ArrowDown");
  seen.wordTip = tip("words");
  choose("choose-bars", 1);
  seen.computing = bars();
  choose("choose-reading", 0);
  seen.elapsedRows = table();
  seen.elapsedBlocks = bars("#lanes");
  choose("choose-utterance", 1);
  seen.said = document.getElementById("said").textContent;
  seen.widest = document.documentElement.scrollWidth - document.documentElement.clientWidth;
}
"""


def drive(text: str, folder: Path) -> dict[str, Any]:
    """Load the page with the driver beside its own script, and return what the driver saw."""
    open_page = re.sub(r"<meta http-equiv[^>]*>", "", text)
    assert open_page != text
    driven = open_page.replace("</body>", f"<script>{{{DRIVER}}}</script></body>")
    document, console = load(driven, folder)
    assert console == ""
    found = re.search(r'<pre id="seen">([^<]*)</pre>', document)
    assert found is not None
    seen: dict[str, Any] = json.loads(unquote(found[1]))
    assert "error" not in seen, seen["error"]
    return seen


RESULTS = synthetic_results(utterances=3, runs=5)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return drive(page(RESULTS), tmp_path_factory.mktemp("browser"))


def test_quality_against_latency(seen: dict[str, Any]) -> None:
    # 3 trained systems with 2 policies and 3 segment sizes, one of the points degenerate
    assert (seen["marks"], seen["hollow"], seen["ellipses"]) == (18, 1, 18)
    assert seen["ellipsesOfOther"] == 0
    assert seen["xTitle"] == "LAAL_CA (ms)"
    assert len(seen["legend"]) == 18
    assert seen["legend"][0] == "EchoStream tiny, ctc, 160 ms"
    assert (seen["marksWithoutFirst"], seen["pressed"]) == (17, "false")


def test_computing_and_memory(seen: dict[str, Any]) -> None:
    assert seen["curves"] == [5, 5, 5]
    assert re.fullmatch(r"EchoStream tiny\n5 s: compute RTF 0\.03\d+", seen["firstTip"])
    assert re.fullmatch(r"StreamSpeech\n60 s: compute RTF 5\.\d+", seen["lastTip"])
    assert seen["noTip"] == ""


def test_lanes(seen: dict[str, Any]) -> None:
    runs = RESULTS.utterances[0].runs
    assert seen["boxes"] == sum(len(run.segments) for run in runs)
    assert seen["lanes"][0] == "EchoStream tiny, ctc, 320 ms"
    assert seen["lanes"][4] == "StreamSpeech, ctc, 320 ms (writes the reference)"
    assert "WRITE 1 after 1.60 s of audio" in seen["laneTip"]


@pytest.mark.parametrize(
    ("key", "reading"), [("blocks", "real_time"), ("elapsedBlocks", "elapsed")]
)
def test_computing_in_the_lanes_ends_with_the_words(
    seen: dict[str, Any], key: str, reading: str
) -> None:
    runs = RESULTS.utterances[0].runs
    # The last segment of every run writes words, so the last of them ends its computing.
    ends = [getattr(run.words[-1], reading).total_ms for run in runs]
    room = min(150, 0.22 * seen["width"])
    scale = (seen["width"] - 16 - room) / max(ends)
    lanes = by_row(seen[key])
    assert len(lanes) == len(runs)
    for lane, end in zip(lanes, ends, strict=True):
        right = max(block["x"] + block["width"] for block in lane)
        assert right - 8 == pytest.approx(scale * end, abs=1.2)


def numbers(rows: list[list[str]]) -> list[list[float]]:
    return [[float(cell) for cell in row[1:]] for row in rows]


@pytest.mark.parametrize(("key", "reading"), [("rows", "real_time"), ("elapsedRows", "elapsed")])
def test_table_of_words(seen: dict[str, Any], key: str, reading: str) -> None:
    words = RESULTS.utterances[0].runs[2].words
    assert [row[0] for row in seen[key]] == [word.text for word in words]
    for row, word in zip(numbers(seen[key]), words, strict=True):
        delay = getattr(word, reading)
        assert row[0] == pytest.approx(word.delay_ms, abs=0.006)
        assert row[-1] == pytest.approx(delay.total_ms, abs=0.006)
        assert sum(row[1:-1]) == pytest.approx(row[-1], abs=1e-9)
        parts = [delay.waiting_ms, *delay.costs.values()]
        assert row[1:-1] == pytest.approx(parts, abs=0.0102)


def by_row(bars: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    rows: dict[float, list[dict[str, Any]]] = {}
    for bar in bars:
        rows.setdefault(bar["y"], []).append(bar)
    return list(rows.values())


def test_bars_end_where_the_words_were_written(seen: dict[str, Any]) -> None:
    words = RESULTS.utterances[0].runs[2].words
    rows = by_row(seen["bars"])
    assert len(rows) == len(words)
    first = rows[0][0]
    scale = first["width"] / words[0].real_time.waiting_ms
    for row, word in zip(rows, words, strict=True):
        assert (row[0]["part"], row[0]["x"]) == ("part-0", 8)
        end = row[-1]["x"] + row[-1]["width"]
        # a pixel for parts too narrow to be drawn at their width
        assert end - 8 == pytest.approx(scale * word.real_time.total_ms, abs=1.2)
    assert seen["wordTip"].startswith("please: written at ")


def test_computing_time_alone_starts_at_the_edge(seen: dict[str, Any]) -> None:
    for row in by_row(seen["computing"]):
        assert (row[0]["part"], row[0]["x"]) == ("part-1", 8)
        for left, right in zip(row, row[1:], strict=False):
            assert left["x"] + left["width"] == pytest.approx(right["x"], abs=1.2)


def test_another_recording(seen: dict[str, Any]) -> None:
    assert seen["said"] == RESULTS.utterances[1].source_text
    assert seen["widest"] == 0


def test_it_runs_under_its_own_rules_and_hostile_text_does_not(tmp_path: Path) -> None:
    document, console = load(page(hostile_results()), tmp_path)
    assert console == ""
    assert "<title>Side by side" in document
    assert not re.search(r"<img|<title>owned", document)
    assert document.count("<script") == 2
    assert 'class="box-write"' in document and 'class="ellipse"' in document
