"""The words of a draft, decoded as they are asked for."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import overload

from echostream.decoder.repetition import RepetitionGuard, RepetitionState
from echostream.decoder.text import guards
from echostream.decoder.text.state import DraftWord
from echostream.decoder.words import Word
from echostream.text import normalise


class DraftWords(Sequence[Word]):
    """Looks no further than somebody asks.

    Args:
        find: makes the word after those that were found, ``None`` if there is none.
        guard: ends the words at too many copies of a phrase.
        repetition: what the guard knows of the words before them.
    """

    def __init__(
        self,
        find: Callable[[Sequence[DraftWord]], DraftWord | None],
        guard: RepetitionGuard,
        repetition: RepetitionState,
    ) -> None:
        self._find, self._guard, self._repetition = find, guard, repetition
        self._found: list[DraftWord] = []
        self._ended = False

    def __len__(self) -> int:
        while self._more():
            pass
        return len(self._found)

    @overload
    def __getitem__(self, index: int) -> Word: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Word, ...]: ...

    def __getitem__(self, index: int | slice) -> Word | tuple[Word, ...]:
        if isinstance(index, slice):
            return tuple(each.word for each in self.first(len(self))[index])
        place = index + len(self) if index < 0 else index
        found = self.first(place + 1)
        if not 0 <= place < len(found):
            raise IndexError(f"word {index} of {len(found)}")
        return found[place].word

    def first(self, count: int) -> list[DraftWord]:
        """The first ``count`` words, or all if there are fewer."""
        while len(self._found) < count and self._more():
            pass
        return self._found[:count]

    def _more(self) -> bool:
        """Find one more word, if there is one."""
        if self._ended:
            return False
        word = self._find(self._found)
        if word is not None:
            # A circle goes through other commas and capitals each time.
            admitted, self._repetition = self._guard.admit(
                normalise(word.word.text), self._repetition
            )
            if admitted and not guards.goes_in_a_circle(self._repetition):
                self._found.append(dataclasses.replace(word, repetition=self._repetition))
                return True
        self._ended = True
        return False
