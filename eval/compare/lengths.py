"""Compute and memory against the length of the recording.

One long recording is pushed segment by segment and the cost of every segment noted. A shorter
recording with the same beginning has the same segments, so one pass gives the figures of all
lengths, apart from what the end of a recording costs.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echostream.constants import SAMPLE_RATE
from echostream.scale import one_thread
from echostream.session import SystemOptions, Translator, build_translator
from eval.compare.plan import ComparisonPlan
from eval.compare.schema import LengthRun, SegmentCost
from eval.sweep import System, Work
from eval.sweep.kept import ALL_CODE, code_digest, digest, is_kept, read_kept, write_kept

SEGMENT_MS = 320

Pass = Sequence[SegmentCost]


def measure_lengths(
    plan: ComparisonPlan, audio: NDArray[np.float32], reference: str, work: Work
) -> list[LengthRun]:
    """Compute against length, round after round over the systems; what was measured is kept.

    Args:
        plan: systems and lengths.
        audio: ``[samples]`` at 16 kHz, at least as long as the longest length.
        reference: the words of forced writers.
        work: where and how; always in this process.
    """
    size = SEGMENT_MS * SAMPLE_RATE // 1000
    audio = audio[: -(-max(plan.lengths_s) * SAMPLE_RATE // size) * size]
    sound = digest(audio.tobytes().hex())
    paths: dict[str, list[Path]] = {}
    todo: list[tuple[int, Path, SystemOptions, str | None]] = []
    for entry in plan.systems:
        if not entry.lengths:
            continue
        options = entry.options(SEGMENT_MS)
        model = System(options).fingerprint
        settings = [model, asdict(options), entry.trained, sound, code_digest(ALL_CODE)]
        kept = work.folder / "lengths" / digest(settings)
        repeats = range(entry.repeats or plan.repeats)
        paths[entry.name] = [kept / f"{number}.pass" for number in repeats]
        said = None if entry.trained else reference
        todo += [
            (number, path, options, said)
            for number, path in enumerate(paths[entry.name])
            if not is_kept(path)
        ]
    # In turn, so that a change in the machine's speed falls on all systems alike.
    todo.sort(key=lambda task: task[0])
    translators: dict[SystemOptions, Translator] = {}
    with one_thread():
        for _, path, options, said in work.progress(todo, len(todo), "compute against length"):
            if options not in translators:
                translators[options] = build_translator(options, clock=time.process_time)
            write_kept(path, one_pass(translators[options], audio, said))
    return [
        run
        for name, own in paths.items()
        for run in length_runs(name, plan.lengths_s, list(map(read_kept, own)))
    ]


def one_pass(
    translator: Translator, audio: NDArray[np.float32], reference: str | None
) -> list[SegmentCost]:
    """Push ``audio`` [samples at 16 kHz]; what is shorter than a segment at its end is left out.

    ``reference`` are the words of a forced writer.
    """
    size = SEGMENT_MS * SAMPLE_RATE // 1000
    state = translator.init_state(reference)
    result = []
    for end in range(size, len(audio) + 1, size):
        step, state = translator.step(audio[end - size : end], SAMPLE_RATE, state, is_final=False)
        audio_ms = end * 1000 // SAMPLE_RATE
        result.append(SegmentCost(audio_ms, dict(step.costs), state.listener.encoder.nbytes))
    return result


def median_pass(passes: Sequence[Pass]) -> list[SegmentCost]:
    """Segment by segment the median of each stage's cost over passes of the same audio."""
    result = []
    for same in zip(*passes, strict=True):
        stages = dict.fromkeys(stage for segment in same for stage in segment.costs)
        costs = {
            stage: statistics.median(segment.costs.get(stage, 0.0) for segment in same)
            for stage in stages
        }
        result.append(SegmentCost(same[0].audio_ms, costs, same[0].state_bytes))
    return result


def length_runs(system: str, lengths_s: Sequence[int], passes: Sequence[Pass]) -> list[LengthRun]:
    """The runs of one system, one for each length that was reached."""
    segments = median_pass(passes)
    runs = []
    for seconds in lengths_s:
        heard = tuple(segment for segment in segments if segment.audio_ms <= 1000 * seconds)
        # The audio may be shorter than this length.
        if heard and heard[-1].audio_ms + SEGMENT_MS > 1000 * seconds:
            runs.append(LengthRun(system, seconds, SEGMENT_MS, len(passes), heard))
    return runs
