"""One value of each of several words, looked up when it is asked for.

A policy may let words wait for as long as it likes. A list of their texts, made anew for every
question, would cost the more the longer they have waited.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar, overload

from echostream.decoder import Word

T = TypeVar("T", covariant=True)


class WordValues(Sequence[T]):
    """Immutable, and equal to any sequence of the same values.

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
            for part in self._parts:
                if place < len(part):
                    return self._value(part[place])
                place -= len(part)
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
