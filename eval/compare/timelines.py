"""What each written word's delay is made of.

Legend: segment ``i`` of a recording is complete at ``a_i`` ms of audio and costs ``c_i`` ms of
compute, the sum of its stages; its words are there at ``t_i``.

Two readings. SimulEval's adds all compute so far to the audio, as if nothing were computed while
the next audio comes in::

    t_i = a_i + c_1 + ... + c_i

In real time compute overlaps with waiting::

    t_i = max(t_{i-1}, a_i) + c_i

Then the parts are those of the critical path: the system waited for audio until the busy stretch
that ends at ``t_i`` began, and has computed since. Less compute anywhere in that stretch would have
brought the word forward by as much.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echostream.audio import read_audio
from echostream.errors import DataError
from echostream.session.costs import sum_costs
from echostream.session.segment_log import LOG_NAME, SegmentRecord
from eval.compare.grid import Run, spread
from eval.compare.schema import Delay, TimelineRun, TimelineWord, Utterance
from eval.sweep import Source

_STRETCHES = 400
"""Columns of a drawn waveform."""


def elapsed_delays(segments: Sequence[SegmentRecord]) -> list[Delay]:
    """SimulEval's reading, for the words of each segment."""
    delays = []
    spent: dict[str, float] = {}
    for segment in segments:
        spent = sum_costs(spent, segment.costs)
        delays.append(Delay(segment.audio_ms, spent))
    return delays


def real_time_delays(segments: Sequence[SegmentRecord]) -> list[Delay]:
    """The real-time reading, for the words of each segment."""
    delays: list[Delay] = []
    for segment in segments:
        last = delays[-1] if delays else Delay(0.0, {})
        if segment.audio_ms >= last.total_ms:  # it had finished and was waiting
            last = Delay(segment.audio_ms, {})
        delays.append(Delay(last.waiting_ms, sum_costs(last.costs, segment.costs)))
    return delays


def timeline_words(
    words: Sequence[str], segments: Sequence[SegmentRecord]
) -> tuple[TimelineWord, ...]:
    """The words of one recording with their delays.

    Raises:
        DataError: if the segments wrote another number of words.
    """
    places = [number for number, each in enumerate(segments) for _ in range(each.num_words)]
    if len(places) != len(words):
        raise DataError(
            f"the segment log counts {len(places)} words and the prediction has {len(words)}; "
            "expected as many: the two logs are not of the same run"
        )
    elapsed, real_time = elapsed_delays(segments), real_time_delays(segments)
    return tuple(
        TimelineWord(text, place, segments[place].audio_ms, elapsed[place], real_time[place])
        for text, place in zip(words, places, strict=True)
    )


def outline(
    samples: NDArray[np.float32], stretches: int = _STRETCHES
) -> tuple[tuple[float, float], ...]:
    """Least and greatest sample of each of ``stretches`` equal stretches of mono ``samples``."""
    parts = np.array_split(samples, stretches)
    return tuple(
        (round(float(part.min()), 3), round(float(part.max()), 3)) if len(part) else (0.0, 0.0)
        for part in parts
    )


def shown_recordings(runs: Sequence[Run], sources: Sequence[Source], number: int) -> list[Source]:
    """Recordings for the timelines: of those that all systems heard, evenly spread in length.

    The longest comes first, as there is most to see in it.
    """
    heard = set.intersection(*({ins.index for ins in run.instances} for run in runs))
    spoken = sorted(
        (source for source in sources if source.index in heard), key=lambda s: -s.length_ms
    )
    return spread(spoken, number)


def utterance_of(source: Source, source_text: str, runs: Sequence[Run]) -> Utterance:
    """One recording with its timelines.

    Raises:
        DataError: if a segment log cannot be read or is not of the run.
    """
    samples, _ = read_audio(source.path)
    drawn = []
    for run in runs:
        instance = next(ins for ins in run.instances if ins.index == source.index)
        said, segments = instance.prediction, _segments_of(run.folder, source.index)
        units = said.split()
        if instance.unit.is_character:
            units = list("".join(units))
        words = timeline_words(units, segments)
        drawn.append(TimelineRun(run.entry.name, *run.key, said, segments, words))
    return Utterance(
        source.index,
        Path(source.path).stem,
        source.length_ms / 1000,
        source_text,
        source.reference,
        outline(samples.mean(axis=1) if samples.ndim == 2 else samples),
        tuple(drawn),
    )


def _segments_of(folder: Path, index: int) -> tuple[SegmentRecord, ...]:
    """The segments of a recording from the ``segments.log`` of a run."""
    path = folder / LOG_NAME
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        segments = next(line["segments"] for line in lines if line["index"] == index)
        return tuple(map(SegmentRecord.from_json, segments))
    except (OSError, ValueError, LookupError, TypeError, StopIteration) as error:
        raise DataError(
            f"{path}: cannot be used ({error}); expected what a replay writes; remove the folder "
            "and run the command again"
        ) from error
