"""A decoder that goes in circles, or stands still, does not keep a stream from what comes next."""

from __future__ import annotations

import pytest
import torch

from echostream.decoder.text import generator as module
from echostream.decoder.text.search import repeating

from .test_text_generator import CHUNK, PROMPT, frames, generator, heard


def test_what_would_be_a_copy_is_named() -> None:
    assert repeating([1, 2, 3, 4, 1, 2, 3], 3) == [4]
    assert repeating([5] * 4, 2) == [5, 5]
    assert repeating([1, 2, 3], 3) == repeating([1, 2], 3) == []


def test_a_stream_that_stands_still_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALLED", 3 * CHUNK)
    made = generator(window=60)
    state, committed = made.init_state(), 0
    for part in frames(6 * CHUNK).split(CHUNK):
        state = made.observe(heard(part), state)
        if not committed:
            candidates, state = made.candidates(state)
            words, state = made.commit(1, state)
            committed = len(words)
            spoken_until = state.last_frame
    assert committed == 1 and state.num_cuts == 1
    assert list(state.prefix.tokens) == PROMPT and state.written == () == state.history
    assert spoken_until < state.source.base < state.source.end
    # And it goes on.
    candidates, state = made.candidates(state)
    assert isinstance(candidates.tentative[:1], tuple) and not torch.isnan(state.prefix.past).any()
