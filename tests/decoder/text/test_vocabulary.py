"""What tokens mean as words."""

import pytest

from echostream.decoder.bpe import ByteLevelTokenizer
from echostream.decoder.text.vocabulary import WhisperVocabulary
from echostream.decoder.token_file import TokenTable

from .small_vocabulary import SPECIAL

_LETTERS = tuple(bytes([byte]) for byte in range(256))
TOKENS = (*SPECIAL, b" a", b" ,", b" ...", b" \xc2\xa1", b" 1.", *_LETTERS)


@pytest.mark.parametrize(
    ("following", "begins"),
    [(b" a", True), (b"b", False), (b" ,", False), (b" ...", False), (b" \xc2\xa1", True)]
    + [(b" 1.", True), (b" ", True)],
)
def test_a_mark_belongs_to_the_word_before_it(following: bytes, begins: bool) -> None:
    table = TokenTable(TOKENS, frozenset(range(len(SPECIAL))), languages=("es",))
    vocabulary = WhisperVocabulary(ByteLevelTokenizer(table), "es", "asr", "word")
    first, token = TOKENS.index(b" a"), TOKENS.index(following)
    assert vocabulary.completes([first], token) is begins
    # White space before a mark is not shown.
    assert vocabulary.text([first, TOKENS.index(b" ,")]) == "a,"
