"""The text decoder, piece by piece and at once, against one written down plainly."""

import dataclasses

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


_FAIRSEQ_NAMES = {
    "self_attn.q_proj": "self_query",
    "self_attn.k_proj": "self_key",
    "self_attn.v_proj": "self_value",
    "self_attn.out_proj": "self_out",
    "self_attn_layer_norm": "self_norm",
    "encoder_attn.q_proj": "cross_query",
    "encoder_attn.k_proj": "cross_key",
    "encoder_attn.v_proj": "cross_value",
    "encoder_attn.out_proj": "cross_out",
    "encoder_attn_layer_norm": "cross_norm",
    "fc1": "ffn_in",
    "fc2": "ffn_out",
    "final_layer_norm": "ffn_norm",
}


def test_fairseqs_decoder_is_a_configuration_of_it() -> None:
    pytest.importorskip("fairseq")
    from fairseq.data import Dictionary
    from fairseq.models.transformer import TransformerConfig, TransformerDecoderBase

    words = Dictionary()
    for place in range(19):
        words.add_symbol(f"w{place}")
    size = {"embed_dim": 12, "ffn_embed_dim": 20, "layers": 3, "attention_heads": 3}
    theirs_config = TransformerConfig(share_decoder_input_output_embed=True, dropout=0.0)
    for name, value in {**size, "normalize_before": True, "output_dim": 12}.items():
        setattr(theirs_config.decoder, name, value)
    theirs_config.encoder.embed_dim = 12
    torch.manual_seed(3)
    embedding = torch.nn.Embedding(len(words), 12, padding_idx=words.pad())
    theirs = TransformerDecoderBase(theirs_config, words, embedding).eval()
    for tensor in theirs.parameters():
        torch.nn.init.normal_(tensor, std=0.5)

    config = dataclasses.replace(
        CONFIG, vocab_size=len(words), activation="relu", embed_scale=12**0.5, alignment_heads=()
    )
    ours = TransformerDecoder(config).eval()
    tokens = torch.tensor([words.eos(), 7, 5, 5, 11])
    with torch.no_grad():
        ours.embedding.weight.copy_(embedding.weight)
        any_tokens = torch.full((1, config.max_tokens), 5)
        ours.positions.copy_(theirs.embed_positions(any_tokens)[0])
        weights = {name: tensor for name, tensor in theirs.state_dict().items()}
        for index, layer in enumerate(ours.layers):
            for their_name, own in _FAIRSEQ_NAMES.items():
                for kind in ("weight", "bias"):
                    tensor = getattr(layer.get_submodule(own), kind)
                    if tensor is not None:
                        tensor.copy_(weights[f"layers.{index}.{their_name}.{kind}"])
        ours.norm.weight.copy_(theirs.layer_norm.weight)
        ours.norm.bias.copy_(theirs.layer_norm.bias)
        encoded = {"encoder_out": [frames()[:, None]], "encoder_padding_mask": []}
        expected = theirs(tokens[None], encoded)[0][0]
        kept, past = ours.source(frames()).split(11, dim=3), []
        for call in tokens.split(2):
            step = ours.step(call, past, kept, ours.silence_rows())
            first = sum(part.shape[3] for part in past)
            past.append(step.own)
            wanted = expected[first : first + len(call)]
            torch.testing.assert_close(ours.logits(step.output), wanted, atol=1e-4, rtol=1e-4)


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
