"""Pauses end segments, wherever the audio is cut."""

import dataclasses

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from echostream.decoder.text import TransformerGenerator, segments
from echostream.decoder.text.segments import LEAST, Speaking, parts_of

from .test_text_generator import CHUNK, PROMPT, SMALL, decoder, frames, heard, parts

PAUSE = 15


@st.composite
def streams(draw: st.DrawFn) -> list[bool]:
    """Speech and pauses of all lengths that matter."""
    runs = draw(st.lists(st.integers(1, 2 * PAUSE), max_size=12))
    first = draw(st.booleans())
    return [(place % 2 == 0) is first for place, run in enumerate(runs) for _ in range(run)]


def ends(speech: list[bool]) -> list[int]:
    """Frames after which a segment ends, by the rule: read from what lies before each."""
    found: list[int] = []
    for place in range(1, len(speech) + 1):
        own = speech[found[-1] if found else 0 : place]
        latest = max((at for at, each in enumerate(own) if each), default=None)
        if latest is None or len(own) - latest - 1 < PAUSE:
            continue
        # A click is forgotten once a pause has followed it.
        spoken, silent = 0, 0
        for each in own[: latest + 1]:
            silent = 0 if each else silent + 1
            spoken = spoken + each if silent < PAUSE else 0
        if spoken >= LEAST:
            found.append(place)
    return found


@given(speech=streams(), cuts=st.lists(st.integers(1, 70), max_size=20))
def test_segments_end_at_pauses(speech: list[bool], cuts: list[int]) -> None:
    found, speaking, at = [], Speaking(), 0
    for size in [*cuts, len(speech)]:
        chunk = speech[at : at + size]
        made = parts_of(chunk, speaking, PAUSE)
        assert [part.begin for part in made] + [len(chunk)] * bool(made) == [0] * bool(made) + [
            part.end for part in made
        ]
        assert all(part.is_last for part in made[:-1])
        for part in made:
            if part.is_last:
                found.append(at + part.end)
        if made:
            speaking = Speaking() if made[-1].is_last else made[-1].after
        at += len(chunk)
    assert found == ends(speech)


def hearing(pause_ms: int = 80) -> TransformerGenerator:
    """A decoder that takes frames whose first channel is positive for speech."""
    model = decoder()
    model.config = dataclasses.replace(SMALL, voice_activity=True)
    model.voice_activity = nn.Linear(SMALL.embed_dim, 1)
    with torch.no_grad():
        model.voice_activity.weight.zero_()
        model.voice_activity.weight[0, 0] = 1.0
        model.voice_activity.bias.zero_()
    own = dataclasses.replace(parts(model), pause_ms=pause_ms)
    return TransformerGenerator(own, window_ms=1200, no_speech=1.0)


def spoken(count: int, seed: int, speech: bool) -> torch.Tensor:
    made = frames(count, seed)
    made[:, 0] = made[:, 0].abs() + 0.1 if speech else -made[:, 0].abs() - 0.1
    return made


def test_each_segment_is_decoded_as_if_it_were_alone() -> None:
    made = hearing()
    sentences = [spoken(2 * CHUNK, seed, True) for seed in (1, 2)]
    pause = spoken(2 * CHUNK, 3, False)
    alone = []
    for sentence in sentences:
        state = made.init_state()
        for part in torch.cat((pause, sentence, pause)).split(CHUNK):
            state = made.observe(heard(part), state)
        assert list(state.prefix.tokens) == PROMPT and not state.speaking.has_begun
        candidates, _ = made.candidates(state)
        # Nothing is said of a pause, and what was said before it need not wait.
        assert len(candidates.stable) == len(candidates) > 0 and candidates.paused
        alone.append([word.text for word in candidates])
    state, said = made.init_state(), []
    for part in torch.cat((pause, sentences[0], pause, sentences[1], pause)).split(CHUNK):
        state = made.observe(heard(part), state)
        words, state = made.commit(len(made.candidates(state)[0].stable), state)
        said += [word.text for word in words]
    assert said == alone[0] + alone[1]
    assert state.source.num_frames <= segments.LEAD_IN


def test_nothing_is_said_where_nobody_speaks() -> None:
    made = hearing()
    state = made.init_state()
    for part in spoken(20 * CHUNK, 1, False).split(CHUNK):
        state = made.observe(heard(part), state)
        assert len(made.candidates(state)[0]) == 0
        assert state.source.num_frames <= segments.LEAD_IN
    assert len(made.candidates(made.finish(state))[0]) == 0


def test_without_a_pause_to_wait_for_no_segment_ends() -> None:
    made = hearing(pause_ms=0)
    state = made.init_state()
    for part in torch.cat((spoken(CHUNK, 1, True), spoken(5 * CHUNK, 2, False))).split(CHUNK):
        state = made.observe(heard(part), state)
    assert state.speaking == Speaking(CHUNK, 5 * CHUNK)
    assert made.candidates(state)[0].stable == ()
