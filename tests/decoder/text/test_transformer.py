"""The text decoder, piece by piece and at once, against one written down plainly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from echostream.decoder.text.transformer import SILENCE_STRIDE, TransformerDecoder

from .plain_decoder import CONFIG, decode, random_decoder

FRAMES = 37
TOKENS = [3, 1, 4, 1, 5, 9, 2, 6]


def frames(count: int = FRAMES) -> Tensor:
    return torch.randn(count, CONFIG.embed_dim, generator=torch.Generator().manual_seed(5))


def source(decoder: TransformerDecoder, heard: Tensor) -> Tensor:
    made = decoder.source(heard)
    rows = decoder.source_position_rows()
    return made if rows is None else made + rows[..., : len(heard), :]


@pytest.mark.parametrize(("positions", "silence"), [(True, True), (True, False), (False, True)])
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_kept_keys_give_what_decoding_from_the_first_token_gives(
    positions: bool, silence: bool, data: st.DataObject
) -> None:
    decoder = random_decoder(positions=positions, silence=silence)
    cuts = data.draw(st.sets(st.integers(1, len(TOKENS) - 1)), label="calls")
    parts = data.draw(st.sets(st.integers(1, FRAMES - 1), max_size=3), label="parts of the source")
    views = data.draw(
        st.lists(st.integers(1, FRAMES), min_size=len(TOKENS), max_size=len(TOKENS)), label="views"
    )
    expected, attention = decode(decoder, TOKENS, frames(), views)
    with torch.no_grad():
        kept = source(decoder, frames()).tensor_split(sorted(parts), dim=3)
        past: list[Tensor] = []
        places = np.split(np.arange(len(TOKENS)), sorted(cuts))
        for call in places:
            step = decoder.step(
                torch.tensor([TOKENS[place] for place in call]),
                past,
                kept,
                decoder.silence_rows(),
                torch.tensor([views[place] for place in call]),
            )
            past.append(step.own)
            np.testing.assert_allclose(decoder.logits(step.output), expected[call], atol=1e-4)
            seen = step.attention[..., :FRAMES].transpose(0, 1)
            np.testing.assert_allclose(seen, attention[call], atol=1e-5)
        whole = decoder(
            torch.tensor([TOKENS, TOKENS]),
            torch.stack((frames(), frames())),
            torch.tensor([views, views]),
        )
    np.testing.assert_allclose(whole[1], expected, atol=1e-4)


def test_views_of_all_frames_need_no_mask() -> None:
    decoder = random_decoder()
    with torch.no_grad():
        for count in (1, SILENCE_STRIDE, SILENCE_STRIDE + 1, FRAMES):
            kept = source(decoder, frames(count))
            arguments = (torch.tensor(TOKENS), (), (kept,), decoder.silence_rows())
            views = torch.full((len(TOKENS),), count)
            plain, masked = decoder.step(*arguments), decoder.step(*arguments, views)
            torch.testing.assert_close(plain.output, masked.output, atol=1e-5, rtol=0.0)


def test_a_gradient_reaches_every_weight() -> None:
    decoder = random_decoder().train()
    views = torch.full((1, len(TOKENS)), FRAMES)
    decoder(torch.tensor([TOKENS]), frames()[None], views).logsumexp(-1).sum().backward()
    # A bias of keys would change nothing, and of the positions only the first were needed.
    without = [name for name, p in decoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_tokens_beyond_the_positions_are_refused() -> None:
    decoder = random_decoder()
    tokens = torch.zeros(CONFIG.max_tokens + 1, dtype=torch.int64)
    with pytest.raises(ValueError, match="at most 64, the positions of the decoder"):
        decoder.step(tokens, (), (source(decoder, frames()),), decoder.silence_rows())
