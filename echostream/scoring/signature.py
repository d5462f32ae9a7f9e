"""What a latency figure must carry to be compared: ``LAAL|unit:word|len:max(ref,hyp)|ca:no|...``.

Fields, always in this order: the metric; ``unit`` that is timed; the metric's own (``len``: the
length it divides by; ``token``: the length of a source token; ``from``: what compute time is known
from; ``avg``: what a corpus mean is weighted by, if it is not plain); ``ca``: the reading, see
:mod:`echostream.scoring.readings`; ``seg``: source segment size; ``eval``: program and version that
computed the figure.

``ca`` is ``no``, ``yes`` (SimulEval's elapsed times), ``real-time(segments)`` (exact) or
``real-time(elapsed)`` (an upper bound). It is left out where it means nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from echostream import __version__
from echostream.errors import DataError
from echostream.scoring.readings import Reading

EVALUATOR = f"echostream-{__version__}"

UNKNOWN = "unknown"


def latency_signature(
    metric: str,
    fields: Iterable[tuple[str, str]],
    *,
    reading: Reading | None,
    segment: str,
    unit: str = "word",
    origin: str = "elapsed",
) -> str:
    """The signature of one figure.

    fields: the metric's own. reading: None where there is but one. segment: from below. origin:
    what real-time figures come from, see :func:`echostream.scoring.readings.compute_origin`.
    """
    aware = {
        None: [],
        Reading.IDEAL: [("ca", "no")],
        Reading.COMPUTATION_AWARE: [("ca", "yes")],
        Reading.REAL_TIME: [("ca", f"real-time({origin})")],
    }
    pairs = [("unit", unit), *fields, *aware[reading], ("seg", segment), ("eval", EVALUATOR)]
    return "|".join([metric, *(f"{key}:{value}" for key, value in pairs)])


def stated_segment(milliseconds: float) -> str:
    """``320ms``: the value of ``seg`` when the source segment size is known."""
    if not 0 < milliseconds < math.inf:  # false for NaN
        raise DataError(
            f"segment size is {milliseconds} ms; expected more than 0, as --source-segment-size was"
        )
    return f"{milliseconds:g}ms"


def inferred_segment(delays: Iterable[tuple[Iterable[float], float]]) -> str:
    """``<=320ms``: what a log, which does not hold the segment size, tells about it.

    delays: with the source length of each instance. Each delay before the end of its source is a
    whole number of segments, so the segment size divides them all and is at most their greatest
    common divisor. It is less where the policy never writes after some segments. ``unknown`` if all
    was written at the end or at fractions of 1 ms.
    """
    early = [delay for times, length in delays for delay in times if delay < length]
    if not all(float(delay).is_integer() for delay in early):
        return UNKNOWN
    divisor = math.gcd(*map(int, early))
    return f"<={divisor}ms" if divisor else UNKNOWN
