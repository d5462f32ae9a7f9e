"""What each segment cost, as the agent notes it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from echostream.constants import SAMPLE_RATE
from echostream.errors import ConfigError
from echostream.hosts.simuleval.agent import EchoStreamAgent
from echostream.session import AgentOptions, build_translator
from echostream.session.costs import StageCosts
from echostream.session.segment_log import SegmentLog, SegmentRecord
from tests.hosts.simuleval.test_agent import converse, segments
from tests.small_system import audio


def test_stages_are_what_a_clock_says(checkpoint: Path) -> None:
    """With a clock that ticks at every look, each stage costs its number of looks."""
    ticks = itertools.count()
    options = AgentOptions(checkpoint=str(checkpoint), policy="offline")
    translator = build_translator(options, clock=lambda: float(next(ticks)))
    state = translator.init_state()
    samples = audio(1.0)
    step, state = translator.step(samples[:8000], SAMPLE_RATE, state, is_final=False)
    # One chunk of 320 ms.
    assert step.costs == StageCosts(
        front_end_ms=1000.0,
        encoder_ms=1000.0,
        heads_ms=1000.0,
        decoder_ms=1000.0,
        policy_ms=1000.0,
    )
    step, state = translator.step(samples[8000:8100], SAMPLE_RATE, state, is_final=False)
    assert step.costs == StageCosts(1000.0, 1000.0, 1000.0), "no chunk, no search, no question"
    step, _ = translator.step(samples[8100:], SAMPLE_RATE, state, is_final=True)
    # Chunks at 640 and 960 ms, the rest, and the end of the source.
    assert step.costs == StageCosts(1000.0, 1000.0, 1000.0, 1000.0 * (3 + 1), 1000.0 * (3 + 1))


def test_costs_add_up_stage_by_stage() -> None:
    total = StageCosts(1.0, 2.0, 3.0, 4.0, 5.0) + StageCosts(10.0, 20.0, 30.0, 40.0, 50.0)
    assert total == StageCosts(11.0, 22.0, 33.0, 44.0, 55.0)
    assert total.total_ms == 165.0


def test_agent_logs_every_segment_of_every_recording(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "new" / "segments.log"
    agent = EchoStreamAgent(
        SimpleNamespace(checkpoint=str(checkpoint), segment_log=str(path), forced_start=5)
    )
    words = []
    for seconds in (1.0, 0.5):
        agent.reset()
        answers = converse(agent, segments(audio(seconds), 5120))
        words.append([len(answer.content.split()) if answer.content else 0 for answer in answers])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["index"] for line in lines] == [5, 6]
    assert [row[0] for row in lines[0]["segments"]] == [320.0, 640.0, 960.0, 1000.0]
    assert [row[0] for row in lines[1]["segments"]] == [320.0, 500.0]
    for line, counted in zip(lines, words, strict=True):
        assert [row[6] for row in line["segments"]] == counted
        assert all(cost >= 0 for row in line["segments"] for cost in row[1:6])
        assert all(row[2] > 0 for row in line["segments"])


def test_a_row_is_rounded_to_the_microsecond() -> None:
    record = SegmentRecord(320.0, StageCosts(0.12345, 1.0, 2.00049, 3.0, 4.0), 2)
    assert record.row() == [320.0, 0.123, 1.0, 2.0, 3.0, 4.0, 2]
    again = SegmentRecord.from_row(record.row())
    assert again == SegmentRecord(320.0, StageCosts(0.123, 1.0, 2.0, 3.0, 4.0), 2)
    with pytest.raises(ValueError, match="unpack"):
        SegmentRecord.from_row([320.0, 0.123, 1.0, 2.0, 3.0, 2])


def test_a_log_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="segment-log"):
        SegmentLog(tmp_path / "file" / "segments.log")
