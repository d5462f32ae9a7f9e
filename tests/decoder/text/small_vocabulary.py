"""A vocabulary of a few words for small random decoders."""

from echostream.decoder.bpe import ByteLevelTokenizer
from echostream.decoder.token_file import TokenTable

WORDS = tuple(b" " + bytes([letter]) for letter in b"abcdefgh")
PIECES = (b"ij", b"kl", b".", b"\xc3", b"\xa9")
SPECIAL = (
    *(b"<|endoftext|>", b"<|startoftranscript|>", b"<|es|>", b"<|translate|>", b"<|transcribe|>"),
    *(b"<|startofprev|>", b"<|nospeech|>", b"<|notimestamps|>"),
)
_BYTES = tuple(bytes([byte]) for byte in range(256) if bytes([byte]) not in PIECES)
TOKENS = (*SPECIAL, *WORDS, *PIECES, *_BYTES)


def tokenizer() -> ByteLevelTokenizer:
    """Only words and pieces, two of them halves of a character, can be said."""
    first = len(SPECIAL) + len(WORDS) + len(PIECES)
    return ByteLevelTokenizer(
        TokenTable(
            TOKENS,
            frozenset(range(len(SPECIAL))),
            languages=("es",),
            suppressed=tuple(range(first, len(TOKENS))),
            suppressed_at_start=(len(SPECIAL) + len(WORDS) + 2,),
        )
    )
