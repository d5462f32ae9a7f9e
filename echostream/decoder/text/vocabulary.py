"""What a text decoder is told and what its tokens mean: prompts, words, what is never said.

Whisper has a byte-level vocabulary whose special tokens steer it; decoders of fairseq have a
SentencePiece vocabulary, and of special tokens the one that ends a text.
"""

from collections.abc import Sequence
from functools import cached_property

from echostream.decoder.bpe import ByteLevelTokenizer
from echostream.decoder.text.window import ends_sentence
from echostream.decoder.tokenizer import Tokenizer
from echostream.decoder.words import text_of
from echostream.errors import ConfigError

TASKS = {"s2tt": "translate", "asr": "transcribe"}
"""Whisper's token of each task."""

_CLOSING = ",.;:!?)"
"""Marks that stand behind a word, whatever white space the decoder puts before them."""


class TextVocabulary:
    """Tokens of a decoder that is told nothing; :class:`WhisperVocabulary` is told much.

    Args:
        tokenizer: of the decoder.
        unit: ``word``: separated by white space. ``char``: every character by itself.

    Raises:
        ConfigError: if the vocabulary has no token that ends a text.
    """

    no_speech: int | None = None
    """Token whose probability says that nobody speaks."""
    suppressed_first: tuple[int, ...] = ()
    """Tokens with which no text begins."""

    def __init__(self, tokenizer: Tokenizer | ByteLevelTokenizer, unit: str) -> None:
        self._tokenizer = tokenizer
        self._unit = unit
        self.end = self._start = tokenizer.end
        if self.end < 0:
            raise ConfigError(
                f"the vocabulary of {tokenizer.vocab_size} pieces has no </s>; expected one, with "
                "which a text decoder ends a text"
            )
        self.suppressed = tuple(each for each in tokenizer.suppressed if each != self.end)

    def prompt(self, history: Sequence[int]) -> tuple[int, ...]:
        """Tokens before the text; ``history`` are those of what was said before."""
        return (self._start, *history)

    def start_place(self, tokens: Sequence[int]) -> int:
        """Where in them the start of the transcript is."""
        return tuple(tokens).index(self._start)

    def completes(self, word: Sequence[int], following: int) -> bool:
        """Whether the tokens ``word`` are a whole word if ``following`` comes after them."""
        if self._unit == "char" or following == self.end or self.starts_word(following):
            text, held = text_of(word, self._tokenizer)
            return bool(text.strip()) and (self._unit == "word" or not held)
        return False

    def starts_word(self, token: int) -> bool:
        """Whether it begins with white space, and is not the mark that closes a word."""
        if not self._tokenizer.starts_word(token):
            return False
        mark = self._tokenizer.append(token, b"")[0].strip()
        return not mark or bool(mark.strip(_CLOSING))

    def text(self, tokens: Sequence[int]) -> str:
        """Text of a word's tokens, without white space; half characters are dropped."""
        return "".join(text_of(tokens, self._tokenizer)[0].split())

    @cached_property
    def sentence_ends(self) -> frozenset[int]:
        """Tokens that end a sentence."""
        tokens = range(self._tokenizer.vocab_size)
        return frozenset(token for token in tokens if ends_sentence(self.text([token])))


class WhisperVocabulary(TextVocabulary):
    """Whisper's vocabulary for one language and task.

    Args:
        tokenizer: of the decoder.
        language: code of the source language, such as ``es``.
        task: ``s2tt`` to translate into English, ``asr`` to transcribe.
        unit: see :class:`TextVocabulary`.

    Raises:
        ConfigError: if the vocabulary does not have the language, or none is given.
    """

    def __init__(
        self, tokenizer: ByteLevelTokenizer, language: str | None, task: str, unit: str
    ) -> None:
        super().__init__(tokenizer, unit)
        if language is None:
            raise ConfigError(
                "the text decoder has to be told the language that is spoken; expected "
                f"--source-language with one of {', '.join(tokenizer.languages)}"
            )
        self.no_speech = _first_of(tokenizer, "<|nospeech|>", "<|nocaptions|>")
        self._start = tokenizer.special("<|startoftranscript|>")
        self._previous = tokenizer.special("<|startofprev|>")
        self._task = (
            self._start,
            tokenizer.language(language),
            tokenizer.special(f"<|{TASKS[task]}|>"),
            tokenizer.special("<|notimestamps|>"),
        )
        # A stream may begin with silence, and then there is nothing to say yet.
        self.suppressed_first = tuple(
            each for each in tokenizer.suppressed_at_start if each != self.end
        )

    def prompt(self, history: Sequence[int]) -> tuple[int, ...]:
        """Tokens before the text; ``history`` are those of what was said before."""
        before = (self._previous, *history) if history else ()
        return before + self._task


def _first_of(tokenizer: ByteLevelTokenizer, *names: str) -> int | None:
    """Id of the first special token that there is."""
    for name in names:
        try:
            return tokenizer.special(name)
        except ConfigError:
            continue
    return None
