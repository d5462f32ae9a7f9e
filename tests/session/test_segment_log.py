"""What each segment cost, as the agent notes it."""

import itertools
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from echostream.constants import SAMPLE_RATE
from echostream.errors import ConfigError
from echostream.hosts.options import HostOptions
from echostream.hosts.simuleval.agent import EchoStreamAgent
from echostream.session import SystemOptions, build_translator
from echostream.session.costs import sum_costs
from echostream.session.segment_log import SegmentLog, SegmentRecord
from tests.hosts.simuleval.test_agent import converse, segments
from tests.small_system import audio


def test_stages_are_what_a_clock_says(checkpoint: Path) -> None:
    """With a clock that ticks at every look, each stage costs its number of looks."""
    ticks = itertools.count()
    options = SystemOptions(checkpoint=str(checkpoint), policy="offline")
    translator = build_translator(options, clock=lambda: float(next(ticks)))
    state = translator.init_state()
    samples = audio(1.0)
    step, state = translator.step(samples[:8000], SAMPLE_RATE, state, is_final=False)
    stages = ("front_end", "encoder", "heads", "decoder", "policy")
    assert step.costs == dict.fromkeys(stages, 1000.0), "one chunk of 320 ms"
    step, state = translator.step(samples[8000:8100], SAMPLE_RATE, state, is_final=False)
    assert step.costs == dict.fromkeys(stages[:3], 1000.0), "no chunk, no search, no question"
    step, _ = translator.step(samples[8100:], SAMPLE_RATE, state, is_final=True)
    # Chunks at 640 and 960 ms, the rest, and the end of the source.
    many = {"decoder": 1000.0 * (3 + 1), "policy": 1000.0 * (3 + 1)}
    assert step.costs == dict.fromkeys(stages[:3], 1000.0) | many


def test_costs_add_up_stage_by_stage() -> None:
    total = sum_costs({"encoder": 1.0, "policy": 2.0}, {"encoder": 10.0, "vocoder": 5.0}, {})
    assert total == {"encoder": 11.0, "policy": 2.0, "vocoder": 5.0}


def test_agent_logs_every_segment_of_every_recording(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "new" / "segments.log"
    agent = EchoStreamAgent(
        SimpleNamespace(checkpoint=str(checkpoint), segment_log=str(path), start_index=5)
    )
    words = []
    for seconds in (1.0, 0.5):
        agent.reset()
        answers = converse(agent, segments(audio(seconds), 5120))
        words.append([len(answer.content.split()) if answer.content else 0 for answer in answers])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["index"] for line in lines] == [5, 6]
    assert [row["audio_ms"] for row in lines[0]["segments"]] == [320.0, 640.0, 960.0, 1000.0]
    assert [row["audio_ms"] for row in lines[1]["segments"]] == [320.0, 500.0]
    for line, counted in zip(lines, words, strict=True):
        assert [row["words"] for row in line["segments"]] == counted
        assert all(min(row["costs_ms"].values()) >= 0 for row in line["segments"])
        assert all(row["costs_ms"]["encoder"] > 0 for row in line["segments"])


def test_costs_are_rounded_to_the_microsecond() -> None:
    record = SegmentRecord(320.0, {"encoder": 0.12345, "new": 2.00049}, 2)
    plain = {"audio_ms": 320.0, "costs_ms": {"encoder": 0.123, "new": 2.0}, "words": 2}
    assert record.to_json() == plain
    assert SegmentRecord.from_json(plain).to_json() == plain
    with pytest.raises(KeyError):
        SegmentRecord.from_json({"audio_ms": 320.0, "words": 2})


@pytest.mark.parametrize("name", ["segment_log", "record"])
def test_a_full_disk_ends_the_log_and_not_the_translation(
    checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    folder = tmp_path / "folder"
    options = {"checkpoint": str(checkpoint), name: str(folder / "file")}
    agent = EchoStreamAgent(SimpleNamespace(**options))
    shutil.rmtree(folder)
    samples = segments(audio(1.0), 5120)
    plain = EchoStreamAgent(SimpleNamespace(checkpoint=str(checkpoint)))
    for _ in range(2):
        said = [[answer.content for answer in converse(each, samples)] for each in (agent, plain)]
        assert said[0] == said[1]
        agent.reset(), plain.reset()
    assert caplog.text.count("the translation goes on") == 1


def test_a_log_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="segment-log"):
        SegmentLog(tmp_path / "file" / "segments.log")
    with pytest.raises(ConfigError, match="--record-audio"):
        HostOptions(record_audio=True)
