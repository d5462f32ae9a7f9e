"""A text decoder in int8 against float32."""

import dataclasses

import torch

from echostream.decoder.text.int8 import Int8Decoder

from .plain_decoder import CONFIG, random_decoder

WIDE = dataclasses.replace(CONFIG, vocab_size=400, embed_dim=48, ffn_dim=96)


@torch.no_grad()
def test_the_decoder_says_what_it_says_in_float32() -> None:
    decoder = random_decoder(config=WIDE)
    int8 = Int8Decoder(decoder)
    frames = torch.randn(30, 48)
    source = decoder.source(frames)
    assert 0 < (int8.source(frames) - source).std() / source.std() < 0.03
    torch.testing.assert_close(
        int8.source_position_rows(), decoder.source_position_rows(), atol=0.06, rtol=0
    )
    rows = decoder.source_position_rows()
    assert rows is not None
    kept, tokens = source + rows[..., :30, :], torch.arange(9)
    exact = decoder.step(tokens, (), (kept,), decoder.silence_rows())
    near = int8.step(tokens, (), (kept,), int8.silence_rows())
    difference = (near.output - exact.output).std() / exact.output.std()
    # Weights this random make more of every rounding than trained ones do.
    assert 0 < difference < 0.35
    # The tokens that count are scored as in float32, in every form of the argument.
    scores, own = int8.logits(exact.output), decoder.logits(exact.output)
    best = own.topk(10, dim=1).indices
    torch.testing.assert_close(scores.gather(1, best), own.gather(1, best))
    torch.testing.assert_close(int8.logits(exact.output[3]).max(), own[3].max())
    assert not torch.equal(scores, own)
