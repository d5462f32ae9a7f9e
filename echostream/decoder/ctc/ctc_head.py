"""The layer that turns encoder frames into CTC log-probabilities.

Symbols: ``B`` streams, ``T`` encoder frames, ``D`` channels of a frame, ``V`` CTC vocabulary.
"""

from typing import cast

from torch import Tensor, nn

from echostream.decoder.tokenizer import blank_index, ctc_vocab_size
from echostream.encoder.linear import Linear
from echostream.errors import ConfigError


class CtcHead(nn.Module):
    """Linear projection and log-softmax over a SentencePiece vocabulary and the blank.

    Connectionist temporal classification is Graves et al. 2006.

    Args:
        embed_dim: channels ``D`` of an encoder frame.
        vocab_size: SentencePiece pieces; ``V = vocab_size + 1``.

    Raises:
        ConfigError: if a size is not positive.
    """

    def __init__(self, embed_dim: int, vocab_size: int) -> None:
        super().__init__()
        for name, value in (("embed_dim", embed_dim), ("vocab_size", vocab_size)):
            if value < 1:
                raise ConfigError(f"{name} of a CTC head is {value}; expected at least 1")
        self.vocab_size = vocab_size
        self.blank = blank_index(vocab_size)
        self.projection = Linear(embed_dim, ctc_vocab_size(vocab_size))

    def forward(self, encoder_out: Tensor) -> Tensor:
        """``encoder_out`` ``[B, T, D]`` to log-probabilities ``[B, T, V]``, float32.

        The soft-max is in float32 whatever the encoder computes in: in half precision the log of a
        small probability is off by more than the margins that a search prunes with.
        """
        logits = cast(Tensor, self.projection(encoder_out))
        return logits.float().log_softmax(dim=-1)
