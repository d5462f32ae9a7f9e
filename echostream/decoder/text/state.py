"""What one stream of a text decoder has heard and said."""

from dataclasses import dataclass, field

from echostream.decoder.repetition import RepetitionState
from echostream.decoder.text.search import Draft, Prefix
from echostream.decoder.text.segments import Speaking
from echostream.decoder.text.source import Source
from echostream.decoder.text.window import WrittenWord
from echostream.decoder.words import Word


@dataclass(frozen=True)
class TextState:
    """One stream; bounded in size but for words that the policy lets wait."""

    prefix: Prefix
    prompt_tokens: int
    """Tokens of the prefix before its text."""
    source: Source = field(default_factory=Source)
    draft: Draft = field(default_factory=Draft)
    written: tuple[WrittenWord, ...] = ()
    """Committed words whose tokens are in the prefix."""
    waiting: tuple[Word, ...] = ()
    """Words that were committed when the frames they look at left, and are not written yet."""
    history: tuple[int, ...] = ()
    """Tokens of the words before those, which are the prompt."""
    num_tokens: int = 0
    """Tokens committed so far."""
    last_frame: int = 0
    """The latest frame that a committed word looked at."""
    last_turn: int = 0
    """Frames of the stream when a word was committed or frames were dropped last."""
    repetition: RepetitionState = field(default_factory=RepetitionState)
    speaking: Speaking = field(default_factory=Speaking)
    finished: bool = False
    """Whether nothing more is heard of the segment."""
    without_speech: int = 0
    """Chunks after which words were drafted and not shown, since nothing had been spoken."""
    num_cuts: int = 0
    """Times that old frames left the window."""

    @property
    def speech_end(self) -> int:
        """Frame of the stream behind the last one with speech."""
        return self.source.end - self.speaking.silent


@dataclass(frozen=True)
class DraftWord:
    """A word of a draft."""

    word: Word
    end: int
    """Tokens of the draft up to its last."""
    repetition: RepetitionState = field(default_factory=RepetitionState)
