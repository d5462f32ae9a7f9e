"""Hosts for a pool in tests: what each stream would get alone, and ways to drive many."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echostream.codec import decode, encode
from echostream.hosts.pool import OverloadError, Served, StreamPool
from echostream.session import Translator, Turn
from tests.small_system import audio


@dataclass(frozen=True)
class Source:
    """A recording and how it comes in."""

    samples: NDArray[np.float32]
    rate: int
    segment: int
    """Samples pushed at a time."""


def source(seconds: float, seed: int, rate: int = 16_000, segment: int = 5_000) -> Source:
    # The length in samples is the same at every rate; a rate only says how fast they are.
    return Source(audio(seconds, seed), rate, segment)


def alone(translator: Translator, one: Source) -> list[Turn]:
    state = translator.init_state()
    first, state = translator.step(one.samples, one.rate, state, is_final=False)
    last, _ = translator.step([], None, state, is_final=True)
    return [*first.turns, *last.turns]


class Host:
    """Pushes the sources of a pool and keeps what comes back.

    The n-th source is stream number n of its list, whatever its number in the pool.
    """

    def __init__(self, pool: StreamPool, sources: Iterable[Source]) -> None:
        self.pool = pool
        self.sources = list(sources)
        self.numbers: dict[int, int] = {}
        """By the pool's number."""
        self.opened: dict[int, int] = {}
        """The pool's number by the source's."""
        self.given = [0] * len(self.sources)
        self.done = [False] * len(self.sources)
        """Whether the end was pushed."""
        self.finished: set[int] = set()
        self.turns: list[list[Turn]] = [[] for _ in self.sources]

    def push(self, which: int) -> None:
        """The next segment of a source; the end comes as a push of its own. After that, nothing."""
        one = self.sources[which]
        if which not in self.opened:
            number = self.pool.open()
            self.opened[which], self.numbers[number] = number, which
        if self.done[which]:
            return
        start = self.given[which]
        if start >= len(one.samples):
            self.pool.finish(self.opened[which])
            self.done[which] = True
            return
        try:
            self.pool.push(self.opened[which], one.samples[start : start + one.segment], one.rate)
        except OverloadError:
            return
        self.given[which] = start + one.segment

    def move(self, which: int) -> None:
        """Take a stream out of the pool, and into it again out of bytes."""
        number = self.opened.get(which)
        if number is not None:
            saved = encode(self.pool.detach(number), "stream")
            assert number not in self.pool
            self.opened[which] = self.pool.open(detached=decode(saved, "stream"))
            self.numbers[self.opened[which]] = which

    def run(self) -> dict[int, Served]:
        """One batch."""
        served = self.pool.run_ready()
        for number, outcome in served.items():
            which = self.numbers[number]
            assert outcome.error is None
            assert which not in self.finished, "nothing comes after the end"
            self.turns[which].extend(outcome.step.turns)
            if outcome.finished:
                self.finished.add(which)
        return served

    def run_to_the_end(self, choose: Callable[[list[int]], list[int]] = list) -> None:
        """Push what ``choose`` says of the unfinished sources, one batch, and so on."""
        while len(self.finished) < len(self.sources):
            left = [n for n in range(len(self.sources)) if n not in self.finished]
            for which in choose(left):
                self.push(which)
            self.run()
