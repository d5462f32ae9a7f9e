"""Whole detokenised words from a stream of SentencePiece tokens.

An evaluator splits each write on white space, so half a word now and its rest later would count as
two words. A word is therefore given out only when it is known to be complete: when white space
(the start of the next word) follows it, or at the end of the stream.
"""

import codecs
import dataclasses
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from echostream.constants import OUTPUT_UNITS
from echostream.decoder.ctc.protocol import Token
from echostream.decoder.repetition import DEFAULT_MAX_REPEATS, RepetitionGuard, RepetitionState
from echostream.errors import ConfigError

log = logging.getLogger(__name__)

MAX_WORD_CHARACTERS = 200
"""Characters of one word that are kept, so that an endless word cannot make the state grow."""


@dataclass(frozen=True)
class Word:
    """A complete word, without white space in it."""

    text: str
    num_tokens: int
    """Tokens of the stream up to and including the last one of this word."""
    frame: int
    """Encoder frame at which it was known that the word is complete; from a decoder with attention
    the one that it looked at most."""
    log_prob: float | None = None
    """Natural logarithm of its probability, from a decoder that has one for each word."""


@dataclass(frozen=True)
class WordState:
    """Carry of one stream; bounded in size."""

    text: str = ""
    """Characters of the word that is not complete yet."""
    text_end: int = 0
    """Tokens of the stream up to the last one that belongs to this word."""
    held: tuple[int, ...] = ()
    """Bytes of a character that is not complete yet."""
    num_tokens: int = 0
    """Tokens taken so far."""
    frame: int = 0
    """Frame of the last token."""
    num_words: int = 0
    """Words given out so far."""
    num_split: int = 0
    """Words whose rest came after a pause had completed them, and was written as another word."""
    paused: bool = False
    """Whether a pause completed the last word and no token has come since."""
    cut_characters: int = 0
    """Characters dropped from words of more than ``MAX_WORD_CHARACTERS``."""
    repetition: RepetitionState = dataclasses.field(default_factory=RepetitionState)


class TokenText(Protocol):
    """What assembling words needs of a vocabulary."""

    def append(self, index: int, held: bytes) -> tuple[str, bytes]:
        """Text that one more id adds, and the bytes of a character that is not complete yet."""
        ...


def whole_characters(data: bytes) -> tuple[str, bytes]:
    """The characters of UTF-8, and the bytes of one that is not complete yet.

    Bytes that cannot become a character, and U+FFFD, which stands for such bytes, are dropped.
    """
    text, used = codecs.utf_8_decode(data, "ignore", False)
    return text.replace("\ufffd", ""), data[used:]


def text_of(ids: Iterable[int], vocabulary: TokenText) -> tuple[str, bytes]:
    """Text of ``ids``, and the bytes of a character that is not complete at their end."""
    text, held = "", b""
    for index in ids:
        added, held = vocabulary.append(index, held)
        text += added
    return text, held


class WordAssembler:
    """Turns tokens into words; immutable, shared by streams.

    Joined by single blanks (``char``: by nothing), the words of a stream are the white-space-split
    text that its tokens decode to, unless the limits on endless words and
    endless repetition struck; what they dropped is counted in the state.

    Args:
        tokenizer: the vocabulary of the tokens.
        unit: one of ``OUTPUT_UNITS``.
        max_repeats: copies of a phrase in a row that are let through.

    Raises:
        ConfigError: unknown unit, or ``max_repeats`` below 2.
    """

    def __init__(
        self, tokenizer: TokenText, unit: str = "word", max_repeats: int = DEFAULT_MAX_REPEATS
    ) -> None:
        if unit not in OUTPUT_UNITS:
            raise ConfigError(
                f"unit of words is {unit!r}; expected one of {', '.join(OUTPUT_UNITS)}"
            )
        self.unit = unit
        self._tokenizer = tokenizer
        self._guard = RepetitionGuard(max_repeats)

    def init_state(self) -> WordState:
        """State of a stream without tokens."""
        return WordState()

    def step(self, tokens: Sequence[Token], state: WordState) -> tuple[tuple[Word, ...], WordState]:
        """Words that these tokens complete, and the state after them.

        To see the words of a tentative hypothesis, step with its tokens and drop the new state.
        """
        words: list[Word] = []
        for token in tokens:
            added, held = self._tokenizer.append(token.id, bytes(state.held))
            state = dataclasses.replace(
                state, held=tuple(held), num_tokens=state.num_tokens + 1, frame=token.frame
            )
            for character in added:
                state = self._take(character, state, words)
        return tuple(words), state

    def flush(
        self, state: WordState, frame: int | None = None
    ) -> tuple[tuple[Word, ...], WordState]:
        """End of stream: what is held is a word. Bytes of half a character are dropped.

        Args:
            frame: the stream's last encoder frame; without it the frame of the last token stands
                for the time at which the last word was known to be complete.
        """
        words: list[Word] = []
        if frame is not None:
            state = dataclasses.replace(state, frame=frame)
        state = self._complete(dataclasses.replace(state, held=()), words)
        return tuple(words), state

    def pause(self, state: WordState, frame: int) -> tuple[tuple[Word, ...], WordState]:
        """The word that is pending at encoder frame ``frame``, which silence has completed."""
        words: list[Word] = []
        state = self._complete(dataclasses.replace(state, frame=frame), words)
        return tuple(words), dataclasses.replace(state, paused=True)

    def _take(self, character: str, state: WordState, words: list[Word]) -> WordState:
        """One more character, from the newest token."""
        if state.paused:
            split = state.num_split + (self.unit == "word" and not character.isspace())
            state = dataclasses.replace(state, paused=False, num_split=split)
        if character.isspace():
            return self._complete(state, words)
        if len(state.text) == MAX_WORD_CHARACTERS:
            if state.cut_characters == 0:
                log.warning(
                    "a word of more than %d characters was cut; unit='char' is for languages that "
                    "do not separate words by white space",
                    MAX_WORD_CHARACTERS,
                )
            cut = state.cut_characters + 1
            return dataclasses.replace(state, text_end=state.num_tokens, cut_characters=cut)
        state = dataclasses.replace(state, text=state.text + character, text_end=state.num_tokens)
        return self._complete(state, words) if self.unit == "char" else state

    def _complete(self, state: WordState, words: list[Word]) -> WordState:
        """Give out the current word, if there is one and the guard admits it."""
        if not state.text:
            return state
        admitted, repetition = self._guard.admit(state.text, state.repetition)
        if admitted:
            words.append(Word(state.text, state.text_end, state.frame))
        elif state.repetition.dropped == 0:
            log.warning("endless repetition near %r: further copies are dropped", state.text)
        return dataclasses.replace(
            state, text="", num_words=state.num_words + admitted, repetition=repetition
        )
