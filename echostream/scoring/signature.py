"""What a latency figure must carry to be compared: ``LAAL|unit:word|len:max(ref,hyp)|ca:no|...``.

Fields, always in this order: the metric; ``unit`` that is timed; the metric's own (``len``: the
length it divides by; ``token``: the length of a source token); ``ca``: computation-aware or not;
``seg``: source segment size; ``eval``: program and version that computed the figure.

``ca:yes`` stands for SimulEval's elapsed times, see :class:`echostream.scoring.instance.Instance`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from echostream import __version__
from echostream.errors import DataError
from echostream.scoring.instance import Instance

EVALUATOR = f"echostream-{__version__}"

UNKNOWN = "unknown"


def latency_signature(
    metric: str,
    fields: Iterable[tuple[str, str]],
    *,
    computation_aware: bool,
    segment: str,
    unit: str = "word",
) -> str:
    """The signature of one figure; ``fields`` are the metric's own, ``segment`` from below."""
    pairs = [
        ("unit", unit),
        *fields,
        ("ca", "yes" if computation_aware else "no"),
        ("seg", segment),
        ("eval", EVALUATOR),
    ]
    return "|".join([metric, *(f"{key}:{value}" for key, value in pairs)])


def stated_segment(milliseconds: float) -> str:
    """``320ms``: the value of ``seg`` when the source segment size is known."""
    if not 0 < milliseconds < math.inf:  # false for NaN
        raise DataError(
            f"segment size is {milliseconds} ms; expected more than 0, as --source-segment-size was"
        )
    return f"{milliseconds:g}ms"


def inferred_segment(instances: Iterable[Instance]) -> str:
    """``<=320ms``: what a log, which does not hold the segment size, tells about it.

    Each delay before the end of its source is a whole number of segments, so the segment size
    divides them all and is at most their greatest common divisor. It is less where the policy never
    writes after some segments. ``unknown`` if all was written at the end or at fractions of 1 ms.
    """
    divisor = 0
    for instance in instances:
        for delay in instance.delays:
            if delay < instance.source_length:
                if not delay.is_integer():
                    return UNKNOWN
                divisor = math.gcd(divisor, int(delay))
    return f"<={divisor}ms" if divisor else UNKNOWN
