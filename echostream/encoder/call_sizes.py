"""How many streams to compute in one call, where only some numbers are to be had.

A compiled graph is for one number of streams, and each takes its time and memory to make.
"""

from __future__ import annotations

import functools

CALL_COST = 4
"""What a call costs by itself, in streams: it reads all weights once, for however many. Measured
for both compiled backends and both shipped sizes of the model: 2.7 to 4.8."""


@functools.lru_cache(maxsize=256)
def call_sizes(streams: int, available: frozenset[int]) -> tuple[int, ...]:
    """The cheapest calls that together hold ``streams``, largest first.

    Each is one of ``available`` (numbers from 1 on, at least one); together they may hold more than
    ``streams``, and the places that are left over come last.
    """
    # best[n] is the cost and the calls for n streams.
    best: list[tuple[int, tuple[int, ...]]] = [(0, ())]
    for count in range(1, streams + 1):
        tried = []
        for size in sorted(available):
            cost, rest = best[max(0, count - size)]
            tried.append((cost + CALL_COST + size, (*rest, size)))
        best.append(min(tried))
    return tuple(sorted(best[streams][1], reverse=True))
