"""Two recordings at once through the HTTP processor: the words of a session, or exit status 1."""

import base64
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import soxr
import yaml

from echostream.audio import read_audio
from echostream.constants import SAMPLE_RATE
from echostream.session import Session, SystemOptions, build_translator

HERE = Path(__file__).parent
CLIPS = sorted((HERE.parents[1] / "eval/clips").glob("*.ogg"))[:2]


def call(method: str, name: str, **values: Any) -> dict[str, Any]:
    """One request to the server."""
    request = Request(
        f"{sys.argv[1]}/{name}", json.dumps(values).encode(), method=method,
        headers={"Content-Type": "application/json"},
    )  # fmt: skip
    with urlopen(request, timeout=300) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def served(clip: Path) -> list[str]:
    """The words of a recording from the server."""
    samples, rate = read_audio(clip)
    samples = soxr.resample(samples, rate, SAMPLE_RATE).astype(np.float32)
    seconds = call("GET", "speech_chunk_size", session_id=clip.name)["speech_chunk_size"]
    size, words = round(seconds * SAMPLE_RATE), []
    for start in range(0, len(samples), size):
        waveform = base64.b64encode(samples[start : start + size].tobytes()).decode()
        answer = call("POST", "process_chunk", session_id=clip.name, waveform=waveform)
        words += answer["new_tokens"]
    return words + call("POST", "end_of_stream", session_id=clip.name)["new_tokens"]


def alone(clip: Path) -> list[str]:
    """The words of a recording from a session."""
    options = yaml.safe_load((HERE / "processor.yaml").read_text(encoding="utf-8"))
    del options["type"]
    session = Session(build_translator(SystemOptions(**options)))
    samples, rate = read_audio(clip)
    samples = soxr.resample(samples, rate, SAMPLE_RATE).astype(np.float32)
    return list(session.push(samples, SAMPLE_RATE, is_final=True).words)


def main() -> int:
    """Compare."""
    with ThreadPoolExecutor() as threads:
        answers = list(threads.map(served, CLIPS))
    wrong = 0
    for clip, words in zip(CLIPS, answers, strict=True):
        equal = words == alone(clip) and words
        wrong += not equal
        sys.stdout.write(f"{clip.name}: {' '.join(words)}{'' if equal else '  DIFFERS'}\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
