"""A small corpus of awkward recordings, and SimulEval's own evaluator run on it."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from echostream.session import SystemOptions
from eval.sweep import Source, read_sources
from tests.small_system import audio

REFERENCES = (
    "The cat sat on the mat.",
    "Über the  old red hills\u2019",
    "Home",
    "and then it ran home over old red hills with my dog",
    "",
)


@dataclasses.dataclass(frozen=True)
class Corpus:
    wav_list: Path
    references: Path

    def sources(self) -> list[Source]:
        return read_sources(self.wav_list, self.references)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """16 kHz; 44.1 kHz stereo; shorter than a segment; whole segments, 8 kHz; below one frame."""
    folder = tmp_path_factory.mktemp("corpus")
    mono = audio(2.3, seed=1)
    left = np.interp(np.arange(88_200) / 44_100, np.arange(32_000) / 16_000, audio(2.0, seed=2))
    right = 0.5 * np.roll(left, 7)
    recordings = (
        ("mono.wav", mono, 16_000),
        ("stereo at 44.flac", np.stack((left, right), axis=1), 44_100),
        ("short.wav", audio(0.15, seed=3), 16_000),
        ("whole.flac", audio(1.6, seed=4)[:25_600].reshape(-1, 2)[:, 0], 8_000),
        ("nothing.wav", audio(0.002, seed=5), 16_000),
    )
    for name, samples, rate in recordings:
        soundfile.write(folder / name, samples, rate)
    corpus = Corpus(folder / "wav_list", folder / "references")
    corpus.wav_list.write_text("".join(f"{folder / name}\n" for name, _, _ in recordings))
    corpus.references.write_text("\n".join(REFERENCES) + "\n", encoding="utf-8")
    return corpus


@pytest.fixture(scope="session")
def live(corpus: Corpus) -> Callable[..., Path]:
    """Runs SimulEval's evaluator, dataloader and instances around the agent, in this process."""
    pytest.importorskip("simuleval")

    from echostream.hosts.simuleval.agent import EchoStreamAgent
    from echostream.hosts.simuleval.baseline_agent import StreamSpeechBaselineAgent
    from tests.hosts.simuleval.evaluator import evaluate

    def run(output: Path, segment_ms: int, options: SystemOptions, baseline: bool = False) -> Path:
        kind = StreamSpeechBaselineAgent if baseline else EchoStreamAgent
        given = {**dataclasses.asdict(options), "segment_log": str(output / "segments.log")}
        if options.random_weights is not None:
            given["forced_target"] = str(corpus.references)
        agent = kind(SimpleNamespace(**given))
        evaluate(agent, corpus.wav_list, corpus.references, output, segment_ms)
        return output

    return run
