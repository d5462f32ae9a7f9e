from __future__ import annotations

import pytest
import torch

from echostream.decoder import CtcHead, blank_index, ctc_vocab_size
from echostream.errors import ConfigError


def test_blank_follows_the_last_piece() -> None:
    head = CtcHead(embed_dim=4, vocab_size=6)
    assert (head.blank, blank_index(6), ctc_vocab_size(6)) == (6, 6, 7)
    assert head(torch.zeros(2, 3, 4)).shape == (2, 3, 7)


def test_output_is_a_distribution_computed_by_hand() -> None:
    head = CtcHead(embed_dim=2, vocab_size=2)
    with torch.no_grad():
        head.projection.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
        head.projection.bias.copy_(torch.tensor([0.0, 0.0, torch.log(torch.tensor(2.0))]))
    # logits 0, ln 3, ln 2, so the probabilities are 1/6, 3/6 and 2/6
    out = head(torch.tensor([[[0.0, 1.0986123]]]))
    torch.testing.assert_close(out[0, 0].exp(), torch.tensor([1 / 6, 3 / 6, 2 / 6]))


def test_half_precision_encoder_gives_float32_log_probs() -> None:
    head = CtcHead(embed_dim=8, vocab_size=50).to(torch.bfloat16)
    out = head(torch.randn(1, 5, 8, dtype=torch.bfloat16))
    assert out.dtype == torch.float32
    # bfloat16 soft-max sums are off by about 1e-2
    torch.testing.assert_close(out.exp().sum(-1), torch.ones(1, 5), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("embed_dim", "vocab_size"), [(0, 5), (5, 0), (-1, 5)])
def test_sizes_must_be_positive(embed_dim: int, vocab_size: int) -> None:
    with pytest.raises(ConfigError, match="expected at least 1"):
        CtcHead(embed_dim, vocab_size)
