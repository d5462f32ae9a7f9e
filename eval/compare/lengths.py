"""Compute and memory against the length of the recording.

One long recording is pushed segment by segment and the cost of every segment noted. A shorter
recording with the same beginning has the same segments, so one pass gives the figures of all
lengths, apart from what the end of a recording costs.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echostream.constants import SAMPLE_RATE
from echostream.errors import ConfigError
from echostream.session import SystemOptions, Translator, build_translator
from echostream.whole_file import write_whole
from eval.compare.plan import ComparisonPlan
from eval.compare.schema import LengthRun, SegmentCost
from eval.sweep import System
from eval.sweep.digests import ENCODING_CODE, WRITING_CODE, code_digest, digest
from eval.sweep.system import clock_named
from eval.sweep.workers import Progress, finish, quiet

SEGMENT_MS = 320


def measure_lengths(
    plan: ComparisonPlan,
    audio: NDArray[np.float32],
    reference: str,
    *,
    root: Path,
    folder: Path,
    clock: str,
    progress: Progress = quiet,
) -> list[LengthRun]:
    """Compute against length, round after round over the systems; what was measured is kept.

    Args:
        plan: systems and lengths.
        audio: ``[samples]`` at 16 kHz, at least as long as the longest length.
        reference: the words of forced writers.
        root: what paths in the plan are relative to.
        folder: where passes are kept.
        clock: ``cpu`` or ``wall``.
        progress: shows how far it is.
    """
    size = SEGMENT_MS * SAMPLE_RATE // 1000
    audio = audio[: -(-max(plan.lengths_s) * SAMPLE_RATE // size) * size]
    tasks: dict[str, list[PassTask]] = {}
    for entry in plan.systems:
        if not entry.lengths:
            continue
        options = entry.options(SEGMENT_MS, root)
        settings = {
            "model": System(options).fingerprint,
            "options": asdict(options),
            "forced": not entry.trained,
            "audio": digest(audio.tobytes().hex()),
            "clock": clock,
            "code": [code_digest(ENCODING_CODE), code_digest(WRITING_CODE)],
        }
        tasks[entry.name] = [
            PassTask(
                options,
                None if entry.trained else reference,
                folder / digest(settings)[:32] / f"{number}.json",
            )
            for number in range(entry.repeats or plan.repeats)
        ]
    # In turn, so that a change in the machine's speed falls on all systems alike; in one process,
    # so that they do not fight for the memory.
    rounds = max(map(len, tasks.values()), default=0)
    todo = [
        task
        for number in range(rounds)
        for passes in tasks.values()
        for task in passes[number : number + 1]
        if read_pass(task.path) is None
    ]
    finish(PassJob(audio, SEGMENT_MS, clock), todo, 1, progress, "compute against length")
    result = []
    for name, tasks_of in tasks.items():
        passes = [costs for task in tasks_of if (costs := read_pass(task.path)) is not None]
        result += length_runs(name, SEGMENT_MS, plan.lengths_s, passes)
    return result


def one_pass(
    translator: Translator, audio: NDArray[np.float32], segment_ms: int, *, reference: str | None
) -> list[SegmentCost]:
    """Push ``audio`` [samples at 16 kHz]; what is shorter than a segment at its end is left out.

    ``reference`` are the words of a forced writer.
    """
    size = segment_ms * SAMPLE_RATE // 1000
    state = translator.init_state(reference)
    result = []
    for end in range(size, len(audio) + 1, size):
        step, state = translator.step(audio[end - size : end], SAMPLE_RATE, state, is_final=False)
        audio_ms = end * 1000 // SAMPLE_RATE
        result.append(SegmentCost(audio_ms, step.costs, state.listener.encoder.nbytes))
    return result


def median_pass(passes: Sequence[Sequence[SegmentCost]]) -> list[SegmentCost]:
    """Segment by segment the median of each stage's cost over passes of the same audio."""
    if not passes:
        raise ConfigError("no pass was measured; expected at least one repeat")
    result = []
    for same in zip(*passes, strict=True):
        stages = dict.fromkeys(stage for segment in same for stage in segment.costs)
        costs = {
            stage: statistics.median(segment.costs.get(stage, 0.0) for segment in same)
            for stage in stages
        }
        result.append(SegmentCost(same[0].audio_ms, costs, same[0].state_bytes))
    return result


def length_runs(
    system: str, segment_ms: int, lengths_s: Sequence[int], passes: Sequence[Sequence[SegmentCost]]
) -> list[LengthRun]:
    """The runs of one system, one for each length that was reached."""
    segments = median_pass(passes)
    runs = []
    for seconds in lengths_s:
        heard = tuple(segment for segment in segments if segment.audio_ms <= 1000 * seconds)
        # The audio may be shorter than this length.
        if heard and heard[-1].audio_ms + segment_ms > 1000 * seconds:
            runs.append(LengthRun(system, seconds, segment_ms, len(passes), heard))
    return runs


@dataclass(frozen=True)
class PassTask:
    """One pass of one system, and the file that keeps it."""

    options: SystemOptions
    reference: str | None
    """The words of a forced writer."""
    path: Path


@dataclass(frozen=True, eq=False)
class PassJob:
    """Measures passes; can be sent to another process."""

    audio: NDArray[np.float32]
    segment_ms: int
    clock: str

    def start(self) -> Callable[[PassTask], None]:
        """What measures and keeps one pass; a system is loaded when it is first met."""
        translators: dict[SystemOptions, Translator] = {}

        def work(task: PassTask) -> None:
            if task.options not in translators:
                clock = clock_named(self.clock)
                translators[task.options] = build_translator(task.options, clock=clock)
            translator = translators[task.options]
            costs = one_pass(translator, self.audio, self.segment_ms, reference=task.reference)
            write_pass(task.path, costs)

        return work


def write_pass(path: Path, costs: Sequence[SegmentCost]) -> None:
    """Keep a pass."""
    write_whole(path, json.dumps([asdict(cost) for cost in costs]) + "\n")


def read_pass(path: Path) -> list[SegmentCost] | None:
    """A pass that was kept; ``None`` if it was not, or is damaged."""
    try:
        return [SegmentCost(**row) for row in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        return None
