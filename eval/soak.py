"""Hours of varied audio through the agent at full speed: does anything grow, drift or go wrong?

    python -m eval.soak                   two hours of audio, about ten minutes of computing
    python -m eval.soak --minutes 3

Utterances of several kinds, sample rates and forms are pushed in segments of random sizes through
one SimulEval agent, with resets in mid-utterance and refused segments. What must hold:

- nothing is NaN or infinite, words are whole, every counter is exactly what was pushed;
- the state after a reset is that of a new stream, and its size never changes;
- neither the memory of the process nor the time per chunk grows with the audio.

Slopes are Theil-Sen (the median over all pairs of windows), so that one busy moment of the machine
does not decide; the first windows, in which libraries load and caches fill, are left out. Time is
CPU time of the process. The verdict, also as JSON in --output, is 0 when all holds.

Symbols: ``n`` samples.
"""

import argparse
import gc
import logging
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from simuleval.data.segments import EmptySegment, SpeechSegment
from tqdm import tqdm

from echostream.audio import read_audio
from echostream.codec import encode
from echostream.constants import ENCODER_FRAME_MS, SAMPLE_RATE
from echostream.errors import AudioFormatError
from echostream.hosts.simuleval.agent import EchoStreamAgent
from echostream.machine import resident_bytes
from echostream.session import Session, TranslatorState
from eval.command import ROOT, ended, heading, parser_of, write_results
from eval.verdict import memory_problems, verdict

Audio = NDArray[np.float32]

RATES = (8000, 16_000, 16_000, 16_000, 22_050, 44_100, 48_000)
KINDS = ("speech", "silence", "noise", "tones", "clipped speech")

LONGEST_S = 240.0
"""Longest utterance."""

WINDOW_S = 60.0
"""Audio in one row of the measurements."""

WARM_UP = 0.2
"""Part of the run, at its start, that the slopes leave out."""

MAX_MEMORY_GROWTH = 2 * 2**20
"""Bytes that memory may have grown by over the whole run, by its slope."""

MAX_TIME_GROWTH = 0.10
"""The same for CPU time per chunk, as a part of its median."""

_MOST_FAULTS = 20


@dataclass
class Window:
    """What was measured while so much audio was pushed."""

    audio_s: float
    """Pushed altogether at the window's end."""
    rss_bytes: int
    cpu_ms_per_chunk: float
    state_bytes: int


@dataclass
class Soak:
    """What came of a run."""

    audio_s: float = 0.0
    longest_s: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    """Utterances, each kind of them, segments, those refused, chunks, words, resets."""
    windows: list[Window] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def fault(self, text: str) -> None:
        """Note what went wrong in the utterance that is pushed."""
        if len(self.faults) < _MOST_FAULTS:
            self.faults.append(f"utterance {self.counts['utterances']}: {text}")

    def growth(self) -> tuple[float, float] | None:
        """Of memory, in bytes, and of time per chunk, as a part of it; None if it is too short."""
        kept = self.windows[int(WARM_UP * len(self.windows)) :]
        if len(kept) < 3:
            return None
        at = [window.audio_s for window in kept]
        times = [window.cpu_ms_per_chunk for window in kept]
        span = at[-1] - at[0]
        memory = span * slope(at, [window.rss_bytes for window in kept])
        return memory, span * slope(at, times) / statistics.median(times)

    @property
    def problems(self) -> list[str]:
        """Why the verdict is not good."""
        found = list(self.faults)
        sizes = {window.state_bytes for window in self.windows}
        if len(sizes) > 1:
            found.append(f"the encoder's state has sizes {sorted(sizes)}; expected one")
        memory, slowing = self.growth() or (0.0, 0.0)
        found += memory_problems(memory, MAX_MEMORY_GROWTH)
        if slowing > MAX_TIME_GROWTH:
            found.append(
                f"time per chunk grew by {100 * slowing:.0f} %; expected at most "
                f"{100 * MAX_TIME_GROWTH:.0f} %"
            )
        return found


def soak(
    agent: EchoStreamAgent,
    audio_s: float,
    speech: Sequence[Audio],
    *,
    seed: int = 0,
    window_s: float = WINDOW_S,
    show: bool = False,
) -> Soak:
    """Push at least ``audio_s`` seconds through the agent and check on the way.

    ``speech`` are recordings at 16 kHz, ``seed`` is of all that is random, ``show`` asks for a bar.
    """
    result = Soak()
    chance = np.random.default_rng(seed)
    agent.reset()
    fresh = _state_bytes(agent)
    next_window, cpu, chunks = window_s, 0.0, 0
    with tqdm(total=round(audio_s), unit="s", disable=not show, desc="audio") as bar:
        while result.audio_s < audio_s:
            kind = str(chance.choice(KINDS))
            result.counts[kind] += 1
            samples = make_audio(kind, speech, chance, longest_s=min(LONGEST_S, audio_s / 10))
            try:
                cpu += Utterance(agent, result, chance).run(samples)
            except Exception as error:
                result.fault(f"{type(error).__name__} in mid-stream: {error}")
                break
            size = _state_of(agent).listener.encoder.nbytes
            agent.reset()
            if _state_bytes(agent) != fresh:
                result.fault("a reset left a trace")
            # Measured between utterances, when nothing of a segment is alive.
            new = result.counts["chunks"] - chunks
            if result.audio_s >= next_window and new:
                gc.collect()
                window = Window(result.audio_s, resident_bytes(), 1000 * cpu / new, size)
                result.windows.append(window)
                next_window, cpu, chunks = result.audio_s + window_s, 0.0, chunks + new
            bar.update(round(result.audio_s) - bar.n)
    agent.reset()
    return result


class Utterance:
    """One utterance on its way through the agent."""

    def __init__(self, agent: EchoStreamAgent, result: Soak, chance: np.random.Generator) -> None:
        self._agent = agent
        self._result = result
        self._chance = chance
        self._words = 0

    def run(self, samples: Audio) -> float:
        """Push it; the CPU seconds that it cost."""
        chance, result, spent = self._chance, self._result, 0.0
        rate = int(chance.choice(RATES))
        if rate != SAMPLE_RATE:
            samples = soxr.resample(samples, SAMPLE_RATE, rate)
        stereo, form = chance.random() < 0.2, str(chance.choice(("list", "float32", "int16")))
        # Resampling overshoots; here as in the front end it is clipped, but there it is counted.
        clipped = (
            0 if form == "int16" else int(np.count_nonzero(np.abs(samples) > 1)) * (1 + stereo)
        )
        is_cut = chance.random() < 0.15
        end = int(chance.integers(1, len(samples))) if is_cut else len(samples)
        start = 0
        largest = float(chance.choice((0.05, 0.32, 0.7, 4.0)))
        while start < end:
            size = int(chance.integers(1, max(2, round(largest * rate))))
            part = samples[start : min(start + size, end)]
            start += len(part)
            if chance.random() < 0.02:
                self._refused(rate)
            last = start >= end and not is_cut and chance.random() < 0.5
            content = pushed_form(part, form, stereo)
            spent += self._push(SpeechSegment(content=content, sample_rate=rate, finished=last))
            result.audio_s += len(part) / rate
        if not is_cut and not self._agent.states.target_finished:
            spent += self._push(EmptySegment(finished=True))
        result.counts.update(utterances=1, resets=int(is_cut))
        result.longest_s = max(result.longest_s, end / rate)
        self._check(end, rate, None if is_cut else clipped)
        return spent

    def _push(self, segment: Any) -> float:
        before = time.process_time()
        answer = self._agent.pushpop(segment)
        spent = time.process_time() - before
        text = "" if answer.is_empty else answer.content
        words = text.split(" ") if text else []
        if any(not word or word.split() != [word] or "\ufffd" in word for word in words):
            self._result.fault(f"odd text {text!r}")
        if answer.finished is not segment.finished:
            self._result.fault("finished at the wrong time")
        self._words += len(words)
        self._result.counts.update(segments=1, words=len(words))
        return spent

    def _refused(self, rate: int) -> None:
        """A segment that must be refused, and leave no trace."""
        bad = np.zeros(80, np.float32)
        bad[7] = self._chance.choice((np.nan, np.inf, 1000.0))
        try:
            self._agent.pushpop(SpeechSegment(content=bad, sample_rate=rate))
        except AudioFormatError:
            self._result.counts["refused"] += 1
        else:
            self._result.fault("a bad segment was not refused")

    def _check(self, samples: int, rate: int, clipped: int | None) -> None:
        """Compare all counters; ``clipped`` is None for an utterance that was not finished."""
        state = _state_of(self._agent)
        counted = self._agent.translator.counters(state)
        encoder = state.listener.encoder
        self._result.counts["chunks"] += counted["chunks"]
        frames = counted["encoder_frames"]
        expected = {
            "samples_heard": samples,
            "nonfinite": 0,
            "words_written": self._words,
            "encoder_frames": int(encoder.processed_frames),
        }
        if clipped is not None:
            at_16k = (samples * SAMPLE_RATE + rate // 2) // rate
            # One feature frame for each 10 ms, and two of them make an encoder frame; resampling
            # looks ahead, for which the lead-in makes up.
            due = at_16k // (SAMPLE_RATE * ENCODER_FRAME_MS // 1000)
            expected |= {"clipped": clipped, "chunks": frames // encoder.chunk_size}
            expected["encoder_frames"] = min(max(frames, due), due + 1)
        for name, value in expected.items():
            if counted[name] != value:
                self._result.fault(f"{name} is {counted[name]}; expected {value}")
        for name, tensor in encoder.named_tensors():
            if not bool(torch.isfinite(tensor).all()):
                self._result.fault(f"{name} is not finite")


def _state_of(agent: EchoStreamAgent) -> TranslatorState:
    session: Session | None = agent.states.session
    assert session is not None  # there is always one more stream without forced references
    return session.state


def _state_bytes(agent: EchoStreamAgent) -> tuple[bytes, str]:
    """Everything in the state of the agent's stream, to compare."""
    state = _state_of(agent)
    tensors = b"".join(
        tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()
        for _, tensor in state.listener.encoder.named_tensors()
    )
    return tensors + encode(state.listener.front_end, "front end"), repr(state.writer)


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Theil-Sen: the median slope between all pairs of points, at least two."""
    pairs = combinations(zip(x, y, strict=True), 2)
    return statistics.median((b[1] - a[1]) / (b[0] - a[0]) for a, b in pairs)


def find_speech(data: Path) -> list[Audio]:
    """Recordings at 16 kHz: of a prepared corpus if there is one, or the project's clips."""
    paths = sorted((data / "audio").rglob("*.flac")) or sorted((ROOT / "eval/clips").glob("*.ogg"))
    found = []
    for path in paths[:: max(1, len(paths) // 60)][:60]:
        samples, rate = read_audio(path)
        found.append(soxr.resample(samples, rate, SAMPLE_RATE))
    return found


def make_audio(
    kind: str, speech: Sequence[Audio], chance: np.random.Generator, longest_s: float
) -> Audio:
    """One utterance ``[n]`` at 16 kHz: seconds long, and now and then minutes."""
    short_s = min(12.0, longest_s)
    bounds = (short_s, longest_s) if chance.random() < 0.04 else (0.02, short_s)
    length = max(1, round(chance.uniform(*bounds) * SAMPLE_RATE))
    samples: NDArray[Any] = np.zeros(length)
    if kind == "noise":
        samples = chance.normal(0, 10 ** chance.uniform(-4, -0.7), length)
    elif kind == "tones":
        clock = np.arange(length) / SAMPLE_RATE
        for pitch in chance.uniform(60, 1000, 4):
            beat = 0.5 + 0.5 * np.sin(2 * np.pi * chance.uniform(0.5, 3) * clock)
            samples += 0.2 * beat * np.sin(2 * np.pi * pitch * clock)
    elif kind != "silence":
        parts: list[Audio] = []
        while sum(map(len, parts)) < length:
            parts.append(speech[int(chance.integers(len(speech)))])
            parts.append(np.zeros(int(chance.integers(1, 16_000)), np.float32))
        samples = np.concatenate(parts)[:length] * 10 ** chance.uniform(-1.5, 0.2)
        if kind == "clipped speech":
            samples = samples * 20
    return np.clip(samples, -1, 1).astype(np.float32)


def pushed_form(part: Audio, form: str, stereo: bool) -> Any:
    """A segment in one of the forms that hosts push."""
    if form == "int16":
        part = np.round(np.clip(part, -1, 1) * 32767).astype(np.int16)
    if stereo:
        part = np.stack((part, part), axis=1)
    return part.tolist() if form == "list" else part


def report(result: Soak) -> str:
    """For people."""
    counts = ", ".join(f"{count} {name}" for name, count in result.counts.items())
    lines = [
        f"{result.audio_s / 60:.1f} minutes of audio, longest utterance {result.longest_s:.0f} s",
        counts,
    ]
    growth = result.growth()
    if growth is None:
        lines.append("too short for slopes of memory and time")
    else:
        first, last = result.windows[0], result.windows[-1]
        lines.append(
            f"memory {first.rss_bytes / 2**20:.1f} -> {last.rss_bytes / 2**20:.1f} MiB, by slope "
            f"after warm-up {growth[0] / 2**20:+.2f} MiB; state {last.state_bytes} bytes; CPU time "
            f"{last.cpu_ms_per_chunk:.2f} ms a chunk, by slope {100 * growth[1]:+.1f} %"
        )
    return "\n".join([*lines, *verdict(result.problems)])


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = parser_of("soak", __doc__)
    add = parser.add_argument
    add("--minutes", type=float, default=120.0, help="of audio (%(default)s)")
    add("--seed", type=int, default=0, help="of what is random (%(default)s)")
    add("--checkpoint", help="folder (default: the one shipped)")
    add("--data", type=Path, default=ROOT / "data" / "es-en", help="speech (%(default)s)")
    add("--output", type=Path, default=ROOT / "runs" / "soak", help="results (%(default)s)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run it; 0 when everything holds."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.ERROR, format="%(message)s")

    def work() -> int:
        agent = EchoStreamAgent(SimpleNamespace(checkpoint=args.checkpoint))
        seconds = 60 * args.minutes
        result = soak(
            agent,
            seconds,
            find_speech(args.data),
            seed=args.seed,
            window_s=min(WINDOW_S, seconds / 20),
            show=True,
        )
        details = {**heading("soak", argv), **asdict(result), "problems": result.problems}
        write_results(args.output / "soak.json", details)
        print(report(result))
        return int(bool(result.problems))

    return ended("soak", work)


if __name__ == "__main__":
    sys.exit(main())
