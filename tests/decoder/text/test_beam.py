"""Beam search where a draft is not sure, and for what is left once no more is heard."""

import dataclasses
import itertools
import math

import pytest
import torch

from echostream.decoder.candidates import Candidates
from echostream.decoder.text import TransformerGenerator, beam, drafting, search
from echostream.decoder.text.beam import BeamSearch
from echostream.errors import CheckpointError

from .small_vocabulary import TOKENS
from .test_text_generator import CHUNK, END, PROMPT, TOKENIZER, decoder, frames, heard, parts


def made(width: int | None, seed: int, task: str = "asr") -> TransformerGenerator:
    own = dataclasses.replace(parts(decoder(seed)), task=task)
    return TransformerGenerator(own, window_ms=800, no_speech=1.0, beam=width)


def ids_of(draft: search.Draft) -> tuple[int, ...]:
    return tuple(token.id for token in draft.tokens)


@pytest.mark.parametrize("seed", range(4))
def test_a_beam_of_all_finds_the_likeliest_text(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # An end is one wherever it looks.
    monkeypatch.setattr(search, "ENDED", -1.0)
    generator = made(200, seed)
    source = generator.observe(heard(frames(20, seed)), generator.init_state()).source
    prefix = generator.search.start(tuple(PROMPT))
    speech = search.Speech(0, 20)
    found = BeamSearch(generator.search, 200).find(
        prefix, source, most=3, first=True, speech=speech
    )

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
    assert scored[ids_of(found)] == pytest.approx(max(scored.values()), abs=1e-5)


def test_what_is_left_at_the_end_is_searched_by_beam() -> None:
    drafts = []
    for width in (1, 4):
        generator = made(width, 0, "s2tt")
        state = generator.init_state()
        for part in frames(12 * CHUNK).split(CHUNK):
            state = generator.observe(heard(part), state)
        if width > 1:
            tokens = BeamSearch(generator.search, width).find(
                state.prefix,
                state.source,
                most=generator.drafting.most(state),
                first=len(state.prefix.tokens) == state.prompt_tokens,
                speech=search.Speech(state.last_frame, state.source.end, is_over=True),
            )
        state = generator.finish(state)
        waiting = len(state.waiting)
        candidates, state = generator.candidates(state)
        assert len(candidates) > waiting
        drafts.append(tuple(token.id for token in state.draft.tokens))
    # One more than the beam may have is there if it has no end.
    found = ids_of(tokens)
    assert found == drafts[1][: len(found)] != drafts[0][: len(found)]


def texts_of(candidates: Candidates) -> list[str]:
    return [word.text for word in (*candidates.stable, *candidates.tentative)]


def drafted(generator: TransformerGenerator, write: int) -> tuple[list[list[str]], int]:
    """The candidates after each chunk, of which ``write`` are written at once."""
    state, texts = generator.init_state(), []
    for part in frames(12 * CHUNK).split(CHUNK):
        state = generator.observe(heard(part), state)
        candidates, state = generator.candidates(state)
        words = texts_of(candidates)
        texts.append(words)
        written, state = generator.commit(write, state)
        assert [word.text for word in written] == words[:write]
        # What follows was found with what is written, and is not looked for again; there is room
        # for more behind it.
        left = texts_of(generator.candidates(state)[0])
        assert left[: len(words) - write] == words[write:]
    return texts, state.num_tokens


@pytest.mark.parametrize(("task", "width"), [("asr", 2), ("s2tt", 1)])
def test_a_transcript_is_searched_by_a_beam_of_two(
    task: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[int] = []

    class Noted(BeamSearch):
        def __init__(self, search: search.GreedySearch, width: int) -> None:
            built.append(width)
            super().__init__(search, width)

    monkeypatch.setattr(drafting, "BeamSearch", Noted)
    made(None, 0, task)
    assert built == [width]


def test_a_sure_draft_is_not_searched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beam, "SURE", -1e9)
    assert drafted(made(4, 0), 1) == drafted(made(1, 0), 1)


@pytest.mark.parametrize("seed", range(3))
def test_a_draft_that_is_not_sure_is_the_likeliest_of_several(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to the newest frames; what is looked at with more of them is not looked for again."""
    monkeypatch.setattr(beam, "SURE", 0.0)
    monkeypatch.setattr(beam, "CERTAIN", 0.0)
    monkeypatch.setattr(drafting, "NEWEST", 5)
    generator = made(4, seed)
    state = generator.observe(heard(frames(4 * CHUNK, seed)), generator.init_state())
    found = BeamSearch(generator.search, 4).find(
        state.prefix,
        state.source,
        most=generator.drafting.most(state),
        first=True,
        speech=search.Speech(state.last_frame, state.speech_end),
        until=state.source.end - 5,
    )
    candidates, state = generator.candidates(state)
    assert len(candidates.tentative)
    ids = [token.id for token in state.draft.tokens]
    assert ids[: len(found.tokens)] == list(ids_of(found))
    assert drafted(generator, 1)[1] > 0


@pytest.mark.parametrize("seed", range(3))
def test_a_search_begins_with_what_is_certain(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafting, "NEWEST", 5)
    every = heard(frames(4 * CHUNK, seed))
    greedy = made(1, seed)
    candidates, state = greedy.candidates(greedy.observe(every, greedy.init_state()))
    assert len(candidates.tentative)
    certain = state.draft.tokens[:2]
    monkeypatch.setattr(drafting, "num_certain", lambda tokens, frame: 2)

    generator = made(4, seed)
    state = generator.observe(every, generator.init_state())
    begun = dataclasses.replace(
        state.prefix,
        tokens=(*state.prefix.tokens, *(token.id for token in certain)),
        views=(state.source.end,) * (len(state.prefix.tokens) + 1),
    )
    prefix = generator.search.remade(begun, state.source)
    looked = dataclasses.replace(prefix.looked, frame=certain[-1].frame)
    found = BeamSearch(generator.search, 4).find(
        dataclasses.replace(prefix, looked=looked),
        state.source,
        most=generator.drafting.most(state) - 2,
        first=False,
        speech=search.Speech(max(token.frame for token in certain), state.speech_end),
        until=state.source.end - 5,
    )
    _, state = generator.candidates(state)
    len(generator.candidates(state)[0].tentative)
    ids = [token.id for token in state.draft.tokens]
    expected = [*(token.id for token in certain), *ids_of(found)]
    assert ids[: len(expected)] == expected


def test_tokens_are_certain_up_to_the_first_that_may_be_another() -> None:
    chances = (0.9, 0.95, 0.7, 0.9, 0.4, 0.1)
    tokens = [
        search.DraftToken(1, 10 * place, 0.0, math.log(chance))
        for place, chance in enumerate(chances)
    ]
    assert [beam.num_certain(tokens, frame) for frame in (0, 30, 40, 99)] == [None, None, 2, 2]
    assert beam.num_certain(tokens[4:], 99) == 0


def test_a_search_refuses_weights_that_are_damaged() -> None:
    generator = made(3, 0, "s2tt")
    state = generator.observe(heard(frames(CHUNK)), generator.init_state())
    with torch.no_grad():
        generator.search.decoder.norm.weight[0] = torch.nan
    with pytest.raises(CheckpointError, match="token 4 of the text is NaN"):
        generator.finish(state)
