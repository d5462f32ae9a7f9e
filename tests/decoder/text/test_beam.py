"""Beam search for what is left of a text once no more is heard."""

import itertools

import pytest
import torch

from echostream.decoder.text import TransformerGenerator, search

from .small_vocabulary import TOKENS
from .test_text_generator import CHUNK, END, PROMPT, TOKENIZER, decoder, frames, heard, parts


def made(beam: int, seed: int) -> TransformerGenerator:
    return TransformerGenerator(parts(decoder(seed)), window_ms=800, no_speech=1.0, beam=beam)


@pytest.mark.parametrize("seed", range(4))
def test_a_beam_of_all_finds_the_likeliest_text(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # An end is one wherever it looks.
    monkeypatch.setattr(search, "ENDED", -1.0)
    generator = made(200, seed)
    source = generator.observe(heard(frames(20, seed)), generator.init_state()).source
    prefix = generator.search.start(tuple(PROMPT))
    speech = search.Speech(0, 20)
    found = generator.search.beam(prefix, source, width=200, most=3, first=True, speech=speech)

    sayable = [each for each in range(len(TOKENS)) if each not in TOKENIZER.suppressed]
    first = set(sayable) - set(TOKENIZER.suppressed_at_start)
    pairs = [pair for pair in itertools.product(sayable, repeat=2) if END not in pair]
    tokens = torch.tensor([[*PROMPT, *pair] for pair in pairs])
    views = torch.full(tokens.shape, 20)
    every = frames(20, seed).expand(len(pairs), -1, -1)
    barred = torch.full((len(TOKENS),), -torch.inf)
    barred[sayable] = 0.0
    with torch.no_grad():
        logits = generator.search.decoder(tokens, every, views)[:, len(PROMPT) - 1 :] + barred
    logits[:, 0, list(TOKENIZER.suppressed_at_start)] = -torch.inf
    chances = logits.log_softmax(dim=-1)
    scored = {(END,): float(chances[0, 0, END])}
    for pair, rows in zip(pairs, chances, strict=True):
        if pair[0] in first:
            begun = float(rows[0, pair[0]])
            scored[(pair[0], END)] = (begun + float(rows[1, END])) / 2
            whole = begun + float(rows[1, pair[1]]) + float(rows[2, END])
            scored[(*pair, END)] = whole / 3
    assert scored[found] == pytest.approx(max(scored.values()), abs=1e-5)


def test_what_is_left_at_the_end_is_searched_by_beam() -> None:
    drafts = []
    for beam in (1, 4):
        generator = made(beam, 0)
        state = generator.init_state()
        for part in frames(12 * CHUNK).split(CHUNK):
            state = generator.observe(heard(part), state)
        if beam > 1:
            tokens = generator.search.beam(
                state.prefix,
                state.source,
                width=beam,
                most=generator._most_drafted(state),
                first=len(state.prefix.tokens) == state.prompt_tokens,
                speech=search.Speech(state.last_frame, state.source.end, is_over=True),
            )
        state = generator.finish(state)
        waiting = len(state.waiting)
        candidates, state = generator.candidates(state)
        assert len(candidates) > waiting
        drafts.append(tuple(token.id for token in state.draft.tokens))
    # One more than the beam may have is there if it has no end.
    assert tokens == drafts[1][: len(tokens)] != drafts[0][: len(tokens)]
