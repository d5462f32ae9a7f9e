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
CPU time of the thread. The verdict, also as JSON in --output, is 0 when all holds.
"""

from __future__ import annotations

import argparse
import gc
import json
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

from echostream.constants import ENCODER_FRAME_MS, SAMPLE_RATE
from echostream.errors import AudioFormatError, EchoStreamError
from echostream.hosts.simuleval.agent import EchoStreamAgent
from echostream.machine import resident_bytes
from echostream.session import Session, TranslatorState
from eval.soak.audio import KINDS, LONGEST_S, find_speech, make_audio, pushed_form

ROOT = Path(__file__).resolve().parents[2]
RATES = (8000, 16_000, 16_000, 16_000, 22_050, 44_100, 48_000)

WINDOW_S = 60.0
"""Audio in one row of the measurements."""

WARM_UP = 0.2
"""Part of the run, at its start, that the slopes leave out."""

MAX_MEMORY_GROWTH = 2 * 2**20
"""Bytes that memory may have grown by over the whole run, by its slope."""

MAX_TIME_GROWTH = 0.10
"""The same for CPU time per chunk, as a part of its median."""


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
    seconds: float = 0.0
    utterances: int = 0
    resets: int = 0
    segments: int = 0
    refused: int = 0
    chunks: int = 0
    words: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    longest_s: float = 0.0
    windows: list[Window] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    memory_growth_bytes: float | None = None
    """Over the measured part; None if there are too few windows."""
    time_growth: float | None = None
    cpu_ms_per_chunk: float | None = None

    @property
    def problems(self) -> list[str]:
        """Why the verdict is not good."""
        found = list(self.faults)
        if self.memory_growth_bytes is not None and self.memory_growth_bytes > MAX_MEMORY_GROWTH:
            found.append(
                f"memory grew by {self.memory_growth_bytes / 2**20:.1f} MiB; expected at most "
                f"{MAX_MEMORY_GROWTH / 2**20:.0f}"
            )
        if self.time_growth is not None and self.time_growth > MAX_TIME_GROWTH:
            found.append(
                f"time per chunk grew by {100 * self.time_growth:.0f} %; expected at most "
                f"{100 * MAX_TIME_GROWTH:.0f} %"
            )
        return found


def soak(
    agent: EchoStreamAgent,
    audio_s: float,
    speech: Sequence[NDArray[np.float32]],
    *,
    seed: int = 0,
    window_s: float = WINDOW_S,
    show: bool = False,
) -> Soak:
    """Push ``audio_s`` seconds through the agent and check on the way.

    Args:
        agent: any; it is reset first.
        audio_s: to push altogether, at least.
        speech: recordings at 16 kHz.
        seed: of all that is random.
        window_s: of a measurement.
        show: a progress bar.
    """
    result, kinds = Soak(), Counter[str]()
    chance = np.random.default_rng(seed)
    agent.reset()
    fresh = _state_bytes(agent)
    next_window, cpu, chunks = window_s, 0.0, 0
    started = time.monotonic()
    with tqdm(total=round(audio_s), unit="s", disable=not show, desc="audio") as bar:
        while result.audio_s < audio_s:
            kind = str(chance.choice(KINDS))
            kinds[kind] += 1
            samples = make_audio(kind, speech, chance, longest_s=min(LONGEST_S, audio_s / 10))
            try:
                cpu += Utterance(agent, result, chance).run(samples)
            except Exception as error:
                result.faults.append(
                    f"utterance {result.utterances}: {type(error).__name__} in mid-stream: {error}"
                )
                break
            size = _state_of(agent).listener.encoder.nbytes
            agent.reset()
            if _state_bytes(agent) != fresh:
                result.faults.append(f"utterance {result.utterances}: a reset left a trace")
            # Measured between utterances, when nothing of a segment is alive.
            if result.audio_s >= next_window and result.chunks > chunks:
                gc.collect()
                mean = 1000 * cpu / (result.chunks - chunks)
                result.windows.append(Window(result.audio_s, resident_bytes(), mean, size))
                next_window, cpu, chunks = result.audio_s + window_s, 0.0, result.chunks
            bar.update(round(result.audio_s) - bar.n)
    agent.reset()
    result.seconds = time.monotonic() - started
    result.kinds = dict(kinds)
    _slopes(result)
    return result


class Utterance:
    """One utterance on its way through the agent."""

    def __init__(self, agent: EchoStreamAgent, result: Soak, chance: np.random.Generator) -> None:
        self._agent = agent
        self._result = result
        self._chance = chance
        self._words = 0

    def run(self, samples: NDArray[np.float32]) -> float:
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
            spent += self._push(pushed_form(part, form, stereo), rate, finished=last)
            result.audio_s += len(part) / rate
        if is_cut:
            result.resets += 1
        elif not self._agent.states.target_finished:
            spent += self._push(None, rate, finished=True)
        result.utterances += 1
        result.longest_s = max(result.longest_s, end / rate)
        self._check(end, rate, clipped if not is_cut else None, is_finished=not is_cut)
        return spent

    def _push(self, content: Any, rate: int, *, finished: bool) -> float:
        segment = (
            EmptySegment(finished=finished)
            if content is None
            else SpeechSegment(content=content, sample_rate=rate, finished=finished)
        )
        before = time.process_time()
        answer = self._agent.pushpop(segment)
        spent = time.process_time() - before
        self._result.segments += 1
        text = "" if answer.is_empty else answer.content
        words = text.split(" ") if text else []
        if any(not word or word.split() != [word] or "\ufffd" in word for word in words):
            self._fault(f"odd text {text!r}")
        if answer.finished is not finished:
            self._fault("finished at the wrong time")
        self._words += len(words)
        self._result.words += len(words)
        return spent

    def _refused(self, rate: int) -> None:
        """A segment that must be refused, and leave no trace."""
        bad = np.zeros(80, np.float32)
        bad[7] = self._chance.choice((np.nan, np.inf, 1000.0))
        try:
            self._agent.pushpop(SpeechSegment(content=bad, sample_rate=rate))
        except AudioFormatError:
            self._result.refused += 1
        else:
            self._fault("a bad segment was not refused")

    def _check(self, samples: int, rate: int, clipped: int | None, *, is_finished: bool) -> None:
        state = _state_of(self._agent)
        counted = self._agent.translator.counters(state)
        encoder = state.listener.encoder
        self._result.chunks += counted["chunks"]
        expected = {"samples_heard": samples, "nonfinite": 0, "words_written": self._words}
        if clipped is not None:
            expected["clipped"] = clipped
        if is_finished:
            at_16k = (samples * SAMPLE_RATE + rate // 2) // rate
            # One feature frame for each 10 ms, and two of them make an encoder frame; resampling
            # looks ahead, for which the lead-in makes up.
            frames = at_16k // (SAMPLE_RATE * ENCODER_FRAME_MS // 1000)
            if not frames <= counted["encoder_frames"] <= frames + 1:
                self._fault(f"{counted['encoder_frames']} encoder frames; expected {frames}")
            chunks = counted["encoder_frames"] // encoder.chunk_size
            if counted["chunks"] != chunks:
                self._fault(f"{counted['chunks']} chunks; expected {chunks}")
        for name, value in expected.items():
            if counted[name] != value:
                self._fault(f"{name} is {counted[name]}; expected {value}")
        if int(encoder.processed_frames) != counted["encoder_frames"]:
            self._fault("encoder and writer count different frames")
        for name, tensor in encoder.named_tensors():
            if not bool(torch.isfinite(tensor).all()):
                self._fault(f"{name} is not finite")

    def _fault(self, text: str) -> None:
        if len(self._result.faults) < 20:
            self._result.faults.append(f"utterance {self._result.utterances}: {text}")


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
    return tensors + state.listener.front_end.to_bytes(), repr(state.writer)


def _slopes(result: Soak) -> None:
    kept = result.windows[int(WARM_UP * len(result.windows)) :]
    sizes = {window.state_bytes for window in result.windows}
    if len(sizes) > 1:
        result.faults.append(f"the encoder's state has sizes {sorted(sizes)}; expected one")
    if len(kept) < 3:
        return
    at = [window.audio_s for window in kept]
    span = at[-1] - at[0]
    times = [window.cpu_ms_per_chunk for window in kept]
    result.cpu_ms_per_chunk = statistics.median(times)
    result.memory_growth_bytes = span * slope(at, [float(window.rss_bytes) for window in kept])
    result.time_growth = span * slope(at, times) / result.cpu_ms_per_chunk


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Theil-Sen: the median slope between all pairs of points, at least two."""
    pairs = combinations(zip(x, y, strict=True), 2)
    return statistics.median((b[1] - a[1]) / (b[0] - a[0]) for a, b in pairs)


def report(result: Soak) -> str:
    """For people."""
    lines = [
        f"{result.audio_s / 60:.1f} minutes of audio in {result.seconds / 60:.1f} minutes: "
        f"{result.utterances} utterances (longest {result.longest_s:.0f} s), {result.segments} "
        f"segments, {result.chunks} chunks, {result.words} words, {result.resets} resets in "
        f"mid-utterance, {result.refused} segments refused",
        "  ".join(f"{kind} {count}" for kind, count in sorted(result.kinds.items())),
    ]
    if result.memory_growth_bytes is not None and result.time_growth is not None:
        first, last = result.windows[0].rss_bytes, result.windows[-1].rss_bytes
        lines.append(
            f"memory {first / 2**20:.1f} -> {last / 2**20:.1f} MiB, by slope after warm-up "
            f"{result.memory_growth_bytes / 2**20:+.2f} MiB; state "
            f"{result.windows[-1].state_bytes} bytes throughout"
        )
        lines.append(
            f"CPU time {result.cpu_ms_per_chunk:.2f} ms a chunk, by slope "
            f"{100 * result.time_growth:+.1f} % over the run"
        )
    else:
        lines.append("too short for slopes of memory and time")
    lines += [f"PROBLEM: {problem}" for problem in result.problems]
    lines.append("verdict: " + ("not good" if result.problems else "good"))
    return "\n".join(lines)


def plot(result: Soak, path: Path) -> None:
    """Memory and time per chunk by audio pushed. Needs matplotlib."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    minutes = [window.audio_s / 60 for window in result.windows]
    upper.plot(minutes, [window.rss_bytes / 2**20 for window in result.windows])
    upper.set_ylabel("resident set, MiB")
    lower.plot(minutes, [window.cpu_ms_per_chunk for window in result.windows])
    lower.set(ylabel="CPU ms per chunk", xlabel="audio pushed, minutes", ylim=(0, None))
    figure.savefig(path)


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(prog="python -m eval.soak", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--hours", type=float, default=2.0, help="audio (%(default)s)")
    add("--minutes", type=float, help="instead of --hours")
    add("--seed", type=int, default=0, help="of what is random (%(default)s)")
    add("--checkpoint", help="folder (default: the one shipped)")
    add("--data", type=Path, default=ROOT / "data" / "es-en", help="speech (%(default)s)")
    add("--output", type=Path, default=ROOT / "runs" / "soak", help="results (%(default)s)")
    add("--plot", action="store_true", help="also memory and time as soak.png")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run it; 0 when everything holds."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    seconds = 3600 * args.hours if args.minutes is None else 60 * args.minutes
    try:
        agent = EchoStreamAgent(SimpleNamespace(checkpoint=args.checkpoint))
        speech = find_speech(args.data)
    except EchoStreamError as error:
        print(f"eval.soak: error: {error}", file=sys.stderr)
        return 2
    window = min(WINDOW_S, seconds / 20)
    result = soak(agent, seconds, speech, seed=args.seed, window_s=window, show=True)
    args.output.mkdir(parents=True, exist_ok=True)
    details = {**asdict(result), "problems": result.problems, "seed": args.seed}
    (args.output / "soak.json").write_text(json.dumps(details, indent=1) + "\n", encoding="utf-8")
    if args.plot:
        plot(result, args.output / "soak.png")
    print(report(result))
    return 1 if result.problems else 0


if __name__ == "__main__":
    sys.exit(main())
