"""Where the CTC blank sits.

A CTC vocabulary is a SentencePiece vocabulary of ``N`` pieces plus the blank. The blank is the
*last* index, ``N``: piece ``p`` is then CTC index ``p``, and a SentencePiece id means the same in a
manifest, a loss, a head, a search and a saved state, with no shift to forget. Losses must be told:
``torch.nn.CTCLoss(blank=blank_index(N))``, since torch's own default is 0.
"""

from __future__ import annotations


def blank_index(vocab_size: int) -> int:
    """CTC index of the blank for a SentencePiece vocabulary of ``vocab_size`` pieces."""
    return vocab_size


def ctc_vocab_size(vocab_size: int) -> int:
    """Size of the CTC vocabulary: ``vocab_size`` pieces and the blank."""
    return vocab_size + 1
