"""What clients say, and the words that they must get.

Legend: n samples at 16 kHz.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echostream.constants import SAMPLE_RATE
from echostream.session import Session, Translator

PAUSE_S = 0.5
"""Between recordings."""


@dataclass(frozen=True, eq=False)
class Talk:
    """Recordings in a row, one stream of a client."""

    samples: NDArray[np.int16]
    """``[n]``"""
    words: tuple[str, ...]
    """Of a session that hears nothing else."""


def make_talks(
    speech: Sequence[NDArray[np.float32]], translator: Translator, count: int, seconds: float
) -> list[Talk]:
    """So many talks of about so many seconds; each begins with another recording."""
    talks = []
    for number in range(count):
        parts: list[NDArray[np.float32]] = []
        at = number * max(1, len(speech) // count)
        while sum(map(len, parts)) < seconds * SAMPLE_RATE:
            parts += [speech[at % len(speech)], np.zeros(int(PAUSE_S * SAMPLE_RATE), np.float32)]
            at += 1
        whole = np.concatenate(parts)[: round(seconds * SAMPLE_RATE)]
        samples = np.round(np.clip(whole, -1, 1) * 32767).astype("<i2")
        session = Session(translator)
        words = list(session.push(samples, SAMPLE_RATE).words)
        talks.append(Talk(samples, (*words, *session.finish().words)))
    return talks
