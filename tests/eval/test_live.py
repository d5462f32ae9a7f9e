"""One round of each client of `eval.live`, and that a wrong word is seen."""

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Any, cast

from echostream.hosts.server import Server
from eval.live.__main__ import problems_of, summary
from eval.live.clients import MISCHIEF, Record, rounds, speak, speaker
from eval.live.served import Moment
from eval.live.talks import Talk, make_talks
from tests.hosts.server.clients import SYSTEM, address, gone, serving
from tests.small_system import audio

CALM = {"late_p95": 20.0, "behind_p95": 320.0, "memory_growth": 0.0}


def test_words_are_late_from_when_their_right_context_was_sent() -> None:
    """A server that answers at once: the 640 ms of a chunk, when another 320 have been sent."""

    class AtOnce:
        sent, whole = 0, asyncio.Event()

        async def send(self, message: bytes | str) -> None:
            self.sent += len(message) // 2 if isinstance(message, bytes) else 0
            if self.sent >= 960 * 16:
                self.whole.set()

        async def recv(self) -> str:
            await self.whole.wait()
            if not (ended := record.late_s):
                return '{"words": [{"text": "a", "written_ms": 640}]}'
            return json.dumps({"end_of_processing": bool(ended)})

    record = Record(right_context_ms=320)
    talk = Talk((audio(1.2) * 32767).astype("<i2"), ("a",))
    assert asyncio.run(speak(cast(Any, AtOnce()), talk, record)) == ["a"]
    (late,) = record.late_s
    assert late < 0.2


def test_every_kind_of_client(checkpoint: Path, translate: object) -> None:
    translator = translate(**SYSTEM)  # type: ignore[operator]
    talk, other = make_talks([audio(0.9, 1), audio(1.3, 2)], translator, 2, 2.0)
    assert talk.words and talk.words != other.words
    wrong = dataclasses.replace(other, words=(*other.words[:1], "?", *other.words[2:]))
    record, misheard = Record(), Record()

    async def work(server: Server) -> None:
        url = address(server)
        clients = [rounds(client, url, [talk], 0, 0.1, record) for client in (speaker, *MISCHIEF)]
        await asyncio.gather(*clients, speaker(url, wrong, misheard))
        await gone(server)

    serving(checkpoint, work, idle_s=1.0)
    assert not record.faults
    assert record.counts == {
        "streams": 3,
        "words": 3 * len(talk.words),
        "slow readers": 1,
        "silent clients": 1,
        "clients with garbage": 2,
        "clients that came back": 1,
    }
    assert min(record.late_s) > 0 and len(record.tail_s) == 3
    (fault,) = misheard.faults
    assert "from word 1 on" in fault and "'?'" in fault
    assert problems_of(CALM, record, 320, 60.0) == []
    assert len(problems_of(CALM, misheard, 320, 60.0)) == 1


def test_what_is_no_good() -> None:
    record = Record(late_s=[0.1] * 90 + [0.5] * 10)
    moments = [Moment(n, (100 + n) << 20, n / 10, 4, 1.0, 4.0 * n) for n in range(100)]
    figures = summary(record, moments)
    assert figures["late_p50"] == 100 and figures["late_p95"] == 500
    assert round(figures["streams_per_core"], 6) == 40 and round(figures["cores"], 6) == 0.1
    assert round(figures["memory_growth"] / 2**20, 6) == 79
    problems = problems_of(figures, record, 320, 600.0)
    for wrong, named in zip(
        problems, ("500 ms or more", "1000 ms of audio", "79.0 MiB"), strict=True
    ):
        assert named in wrong
