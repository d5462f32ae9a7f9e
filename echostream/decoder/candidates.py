"""What could be written next: words in their order, looked at one by one.

A policy may let words wait for as long as it likes, and a decoder with attention makes a word only
when somebody looks at it. So candidates are sequences that are asked, never lists that are made.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar, overload

from echostream.decoder.words import Word

T = TypeVar("T", covariant=True)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Words that are complete and not written, from the first that may be written."""

    stable: Sequence[Word] = ()
    """No later audio can change them."""
    tentative: Sequence[Word] = ()
    """After those; later audio may revise them. A generator that decodes on demand gives a sequence
    whose items are made when they are asked for, and whose length is that of all of them."""
    paused: bool = False
    """Whether the speaker is silent, so that what is stable need not wait for what comes next."""
    on_demand: bool = False
    """Whether tentative words are made one by one as they are asked for. Then none ever becomes
    stable by itself, and it is the policy's schedule that makes it so."""

    def __len__(self) -> int:
        return len(self.stable) + len(self.tentative)

    def __iter__(self) -> Iterator[Word]:
        return itertools.chain(self.stable, self.tentative)


class WordValues(Sequence[T]):
    """One value of each of several words; immutable, and equal to any sequence of the same values.

    Args:
        value: of a word.
        parts: words, one part after the other.
    """

    def __init__(self, value: Callable[[Word], T], *parts: Sequence[Word]) -> None:
        self._value = value
        self._parts = parts

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...

    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        """A value, or a tuple of some; IndexError outside."""
        if isinstance(index, slice):
            return tuple(self[place] for place in range(*index.indices(len(self))))
        place = index + len(self) if index < 0 else index
        if place >= 0:
            *earlier, last = self._parts
            for part in earlier:
                if place < len(part):
                    return self._value(part[place])
                place -= len(part)
            # Without asking for its length, which may decode all of it.
            return self._value(last[place])
        raise IndexError(f"word {index} of {len(self)}")

    def __iter__(self) -> Iterator[T]:
        return map(self._value, itertools.chain(*self._parts))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))
