"""Who says a sentence and how: voices with some held out, speed and pitch drawn from the id.

Nothing is drawn by a running generator: the same sentence gets the same voice whatever was made
before it, so a run can be stopped, gone on with, or made longer.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

from echostream.errors import DataError
from echostream.training.corpus.split import Split

SPEEDS = (0.85, 1.2)
"""Tempo relative to the engine's own."""

PITCHES = (-1.0, 1.0)
"""Pitch within what the engine offers: 0 is the voice's own, -1 and 1 the ends used here."""

NUM_HELD_OUT = 3


@dataclass(frozen=True)
class VoiceTable:
    """Voices heard in train and dev, and those that only say test sentences.

    A blend of voices is written ``a+b`` by the engines that can blend.
    """

    heard: tuple[str, ...]
    held_out: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.heard or len(self.held_out) != NUM_HELD_OUT:
            raise DataError(
                f"{len(self.heard)} voices and {len(self.held_out)} held out; "
                f"expected at least one and {NUM_HELD_OUT} held out: mend the table of voices"
            )
        both = [voice for voice in self.heard if self.is_held_out(voice)]
        if both:
            raise DataError(
                f"the voices {', '.join(both)} are held out, or blends of one that is, and heard "
                "at once; mend the table of voices"
            )

    def is_held_out(self, voice: str) -> bool:
        """Whether the voice, or one that it is blended of, only says test sentences."""
        apart = {part for name in self.held_out for part in name.split("+")}
        return not apart.isdisjoint(voice.split("+"))

    def of(self, split: Split) -> tuple[str, ...]:
        """The voices that may speak in a split."""
        return self.held_out if split == "test" else self.heard


@dataclass(frozen=True)
class Manner:
    """How one sentence is said: ``speed`` in `SPEEDS`, ``pitch`` in `PITCHES`."""

    voice: str
    speed: float
    pitch: float


def draw_manner(engine: str, voices: VoiceTable, name: str, split: Split) -> Manner:
    """The manner of the utterance ``name``: uniform over voices, speeds and pitches."""
    chance = random.Random(draw(engine, name))
    voice = chance.choice(voices.of(split))
    return Manner(voice, round(chance.uniform(*SPEEDS), 2), round(chance.uniform(*PITCHES), 2))


def draw(*words: str) -> int:
    """A number of 256 bits that follows from the words alone."""
    return int.from_bytes(hashlib.sha256("\0".join(words).encode()).digest(), "big")
