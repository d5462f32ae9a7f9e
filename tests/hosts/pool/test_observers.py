"""Whoever watches a stream of a pool sees what a stream alone would show."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echostream.errors import AudioFormatError
from echostream.flight.playback import Sources, play
from echostream.flight.record import FlightRecorder, read_record
from echostream.hosts.pool import StreamPool
from echostream.session.segment_log import SegmentLog
from tests.small_system import audio


def test_records_of_a_pool_are_played_by_a_stream_alone(translate: Any, tmp_path: Path) -> None:
    translator = translate(policy="ctc")
    recorder = FlightRecorder(tmp_path / "record", translator, {}, with_audio=True)
    log = SegmentLog(tmp_path / "segments.log")
    pool = StreamPool(translator, 4)
    sources = [audio(1.0 + 0.3 * number, seed=number) for number in range(3)]
    chance = np.random.default_rng(0)
    streams = [
        pool.open(recording=number, observers=[recorder, log]) for number in range(len(sources))
    ]
    heard = [0] * len(sources)
    words: dict[int, list[str]] = {stream: [] for stream in streams}
    while any(position < len(source) for position, source in zip(heard, sources, strict=True)):
        for number, (stream, source) in enumerate(zip(streams, sources, strict=True)):
            size = int(chance.integers(0, 12_000))
            pool.push(stream, source[heard[number] : heard[number] + size], 16_000)
            heard[number] += size
            if pool.waiting_ms(stream) < 320 and chance.random() < 0.4:
                with pytest.raises(AudioFormatError):
                    pool.push(stream, [float("nan")], 16_000)
        # Now and then several chunks of a stream wait.
        for _ in range(int(chance.integers(0, 4))):
            for stream, served in pool.run_ready().items():
                words[stream] += served.words
    for stream in streams:
        pool.finish(stream)
    while pool.num_ready:
        for stream, served in pool.run_ready().items():
            words[stream] += served.words
    assert len(pool) == 0 and sum(map(len, words.values())) > 5
    record = read_record(tmp_path / "record")
    outcome = play(record, translator, Sources(record))
    assert outcome.difference is None
    assert outcome.num_segments == len(record.segments) > 10
    recorded = [
        [
            w
            for s in record.segments
            if s.stream == n
            for t in s.outcome.get("turns", ())
            for w in t["words"]
        ]
        for n in range(len(sources))
    ]
    assert recorded == list(words.values())
    lines = [json.loads(line) for line in (tmp_path / "segments.log").read_text().splitlines()]
    assert sorted(line["index"] for line in lines) == [0, 1, 2]
    for line in lines:
        assert sum(each["words"] for each in line["segments"]) == len(words[line["index"]])
