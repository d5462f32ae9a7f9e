"""The agent's small checkpoint, and how records are made, read and replayed."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from simuleval.data.segments import SpeechSegment

from echostream.commands import replay as command
from echostream.constants import SAMPLE_RATE
from echostream.hosts.simuleval.agent import EchoStreamAgent


def make_agent(folder: Path, **options: Any) -> EchoStreamAgent:
    return EchoStreamAgent(SimpleNamespace(checkpoint=str(folder), **options))


def send(agent: Any, samples: Any, size: int, rate: int = SAMPLE_RATE, states: Any = None) -> str:
    said = []
    for i in range(0, len(samples), size):
        part = samples[i : i + size]
        segment = SpeechSegment(
            content=part.tolist(), sample_rate=rate, finished=i + size >= len(samples)
        )
        answer = agent.pushpop(segment, states)
        said.append(answer.content if not answer.is_empty else "")
    return " ".join(filter(None, said))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def replay(record: Path, *arguments: Any) -> int:
    return command.main([str(record), *map(str, arguments)])
