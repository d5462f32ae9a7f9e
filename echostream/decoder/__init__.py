"""CTC heads, incremental CTC search, and whole words from tokens.

tokenizer = Tokenizer.from_file("target.model")
decoder = create("greedy", blank=tokenizer.blank, suppress=tokenizer.suppressed)
assembler = WordAssembler(tokenizer)
output, decoder_state = decoder.step(head(encoder_out)[0], decoder_state)
words, word_state = assembler.step(output.stable, word_state)
"""

from echostream.decoder.bpe import ByteLevelTokenizer
from echostream.decoder.candidates import Candidates
from echostream.decoder.ctc.ctc_head import CtcHead
from echostream.decoder.ctc.generator import CtcGenerator, CtcState
from echostream.decoder.ctc.greedy import GreedyCtc, GreedyState
from echostream.decoder.ctc.ngram import NgramModel
from echostream.decoder.ctc.prefix_beam import PrefixBeamCtc
from echostream.decoder.ctc.prefix_search import PrefixBeamState
from echostream.decoder.ctc.protocol import (
    Decoder,
    DecoderOutput,
    Token,
    create,
    describe,
    names,
    register,
)
from echostream.decoder.tokenizer import Tokenizer, blank_index, ctc_vocab_size
from echostream.decoder.words import Word, WordAssembler

__all__ = [
    "ByteLevelTokenizer",
    "Candidates",
    "CtcGenerator",
    "CtcHead",
    "CtcState",
    "Decoder",
    "DecoderOutput",
    "GreedyCtc",
    "GreedyState",
    "NgramModel",
    "PrefixBeamCtc",
    "PrefixBeamState",
    "Token",
    "Tokenizer",
    "Word",
    "WordAssembler",
    "blank_index",
    "create",
    "ctc_vocab_size",
    "describe",
    "names",
    "register",
]
