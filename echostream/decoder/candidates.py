"""What could be written next: words in their order, looked at one by one.

A policy may let words wait for as long as it likes, and a decoder with attention makes a word only
when somebody looks at it. So candidates are sequences that are asked, never lists that are made.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from echostream.decoder.words import Word


@dataclass(frozen=True, eq=False)
class Candidates:
    """Words that are complete and not written, from the first that may be written."""

    stable: Sequence[Word] = ()
    """No later audio can change them."""
    tentative: Sequence[Word] = ()
    """After those; later audio may revise them. A generator that decodes on demand gives a sequence
    whose items are made when they are asked for, and whose length is that of all of them."""
    paused: bool = False
    """Whether what is stable need not wait for what comes next: the speaker is silent, or has
    paused after it."""
    on_demand: bool = False
    """Whether tentative words are made one by one as they are asked for. Then none ever becomes
    stable by itself, and it is the policy's schedule that makes it so."""

    def __len__(self) -> int:
        return len(self.stable) + len(self.tentative)

    def __iter__(self) -> Iterator[Word]:
        return itertools.chain(self.stable, self.tentative)


class Texts(Sequence[str]):
    """The texts of words, looked at when they are asked for; equal to any sequence of the same."""

    def __init__(self, words: Sequence[Word]) -> None:
        self._words = words

    def __len__(self) -> int:
        return len(self._words)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...

    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        """A text, or a tuple of some; IndexError outside."""
        if isinstance(index, slice):
            return tuple(self[place] for place in range(*index.indices(len(self))))
        # The length of what is decoded on demand is only asked for where it must be.
        place = index + len(self) if index < 0 else index
        if place < 0:
            raise IndexError(f"word {index} of {len(self)}")
        return self._words[place].text

    def __iter__(self) -> Iterator[str]:
        return (word.text for word in self._words)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))
