"""Three readings of when a word was there.

Legend: d_k audio sent when word k was written, e_k SimulEval's elapsed time of word k; c_k compute
time between the word before and word k; a_i audio heard at the end of segment i, cost_i what
computing it took. All in ms.

*Ideal*: d_k. Computing takes no time.

*Computation-aware, as SimulEval has it* (``_CA``): e_k = d_k + all compute time so far. A live
system computes while it waits for audio, but here both add up, so that the distance from the delay
grows with the utterance even at a compute RTF far below 1.

*Real time* (``_RT``): computing overlaps with waiting; a segment is begun when its audio is there
and the one before is done. With the costs of all segments (:mod:`echostream.scoring.segments`)
this is exact: t_i = max(t_{i-1}, a_i) + cost_i, and a word is there when its segment is done. From
elapsed times alone, t_k = max(t_{k-1}, d_k) + c_k with c_k = (e_k - d_k) - (e_{k-1} - d_{k-1}):
exact when something is written after every segment, else an upper bound, for what was computed for
segments without words is counted as if it could only begin when the next word's audio was there.

"""

from collections.abc import Iterable, Sequence
from enum import Enum
from itertools import pairwise

from echostream.errors import DataError
from echostream.scoring.instance import Instance
from echostream.scoring.segments import Segment


class Reading(Enum):
    """Which time of a word is meant. The value is the ending of the figure's name."""

    IDEAL = ""
    COMPUTATION_AWARE = "_CA"
    REAL_TIME = "_RT"


def times(instance: Instance, reading: Reading) -> tuple[float, ...]:
    """Per word, in ms; empty if there are no words or the log does not hold what it takes."""
    if reading is Reading.IDEAL:
        return instance.delays
    if reading is Reading.COMPUTATION_AWARE:
        return instance.elapsed
    if instance.segments:
        return real_time_of_segments(instance.segments)
    return real_time_of_elapsed(instance.delays, instance.elapsed) if instance.elapsed else ()


def real_time_of_segments(segments: Iterable[Segment]) -> tuple[float, ...]:
    """When each word was there if every segment is begun as soon as it can be. Exact."""
    words: list[float] = []
    done = 0.0
    for segment in segments:
        done = max(done, segment.audio_ms) + segment.compute_ms
        words += [done] * segment.words
    return tuple(words)


def real_time_of_elapsed(delays: Sequence[float], elapsed: Sequence[float]) -> tuple[float, ...]:
    """When each word was there at the latest. Of words written together the first bears the cost.

    Raises DataError for an elapsed of another length.
    """
    words: list[float] = []
    done = 0.0
    for delay, cost in zip(delays, compute_of_words(delays, elapsed), strict=True):
        # Below 0 only where the clock was set back, which is reported as a problem of the log.
        done = max(done, delay) + max(cost, 0.0)
        words.append(done)
    return tuple(words)


def compute_of_words(delays: Sequence[float], elapsed: Sequence[float]) -> list[float]:
    """c_k: compute time in ms since the word before, [n]. Raises DataError for other lengths."""
    if len(elapsed) != len(delays):
        raise DataError(f"{len(elapsed)} elapsed times for {len(delays)} delays; expected as many")
    spent = [after - before for after, before in zip(elapsed, delays, strict=True)]
    return [later - earlier for earlier, later in pairwise([0.0, *spent])]


def total_compute(instance: Instance) -> float | None:
    """Compute time of the utterance in ms, None if unknown.

    Exact with segments; else what was spent up to the last word, which is a lower bound.
    """
    if instance.segments:
        return sum(segment.compute_ms for segment in instance.segments)
    if instance.elapsed:
        return instance.elapsed[-1] - instance.delays[-1]
    return None


def compute_origin(instances: Iterable[Instance]) -> str:
    """Where real-time figures and compute RTF come from: ``segments``, ``elapsed`` or ``mixed``.

    ``none`` if no instance has either.
    """
    found = {
        "segments" if instance.segments else "elapsed"
        for instance in instances
        if instance.segments or instance.elapsed
    }
    return found.pop() if len(found) == 1 else "mixed" if found else "none"
