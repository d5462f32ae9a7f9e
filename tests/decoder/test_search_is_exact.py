"""What the prefix beam search leaves out changes nothing, down to the bit."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.decoder import PrefixBeamCtc
from echostream.session import SystemOptions
from echostream.session.build import build_listener, build_model

from .ctc_oracles import random_log_probs
from .language_models import MODELS, UNITS
from .plain_prefix_search import PlainPrefixBeam

CLIP = Path(__file__).parents[2] / "eval" / "clips" / "numero.ogg"


def assert_same(chunks: list[torch.Tensor], **options: object) -> int:
    """Outputs and states are equal after every chunk; the tokens that came out."""
    fast, plain = PrefixBeamCtc(**options), PlainPrefixBeam(**options)  # type: ignore[arg-type]
    state = expected = fast.init_state()
    for chunk in chunks:
        output, state = fast.step(chunk, state)
        wanted, expected = plain.step(chunk, expected)
        assert (output, state) == (wanted, expected)
    (output, state), (wanted, expected) = fast.flush(state), plain.flush(expected)
    assert (output, state) == (wanted, expected)
    return state.num_tokens


@settings(deadline=None, max_examples=100)
@given(
    seed=st.integers(0, 100_000),
    frames=st.integers(1, 40),
    cuts=st.lists(st.integers(0, 40), max_size=3),
    vocabulary=st.integers(2, 40),
    beam_size=st.integers(1, 9),
    prune=st.sampled_from([-math.inf, -8.0, -3.0, -0.5, 0.0]),
    hold_frames=st.sampled_from([1, 3, 32]),
    sharpness=st.sampled_from([0.1, 1.0, 3.0, 8.0]),
    blank_bonus=st.sampled_from([0.0, 4.0, 12.0]),
    data=st.data(),
)
def test_random_frames(
    seed: int,
    frames: int,
    cuts: list[int],
    vocabulary: int,
    beam_size: int,
    prune: float,
    hold_frames: int,
    sharpness: float,
    blank_bonus: float,
    data: st.DataObject,
) -> None:
    model = data.draw(st.sampled_from([None, *MODELS]))
    fusion: dict[str, object] = {}
    if model is not None:
        vocabulary = UNITS + 1
        weight, bonus = st.sampled_from([0.3, 1.0, 2.0]), st.sampled_from([-1.0, 0.0, 2.0])
        fusion = {"lm_weight": data.draw(weight), "unit_bonus": data.draw(bonus)}
        fusion["language_model"] = model
    blank = seed % vocabulary if model is None else UNITS
    tokens = [token for token in range(vocabulary) if token != blank]
    suppress = data.draw(st.lists(st.sampled_from(tokens), max_size=3, unique=True))
    log_probs = random_log_probs(seed, frames, vocabulary, sharpness)
    log_probs[::2, blank] += blank_bonus  # Frames in which the blank is next to certain.
    log_probs = log_probs.log_softmax(dim=1)
    edges = [0, *sorted(min(cut, frames) for cut in cuts), frames]
    assert_same(
        [log_probs[a:b] for a, b in itertools.pairwise(edges)],
        blank=blank,
        suppress=tuple(suppress),
        blank_penalty=data.draw(st.sampled_from([0.0, 1.0])),
        beam_size=beam_size,
        prune_log_prob=prune,
        hold_frames=hold_frames,
        **fusion,
    )


def test_real_frames() -> None:
    """Both heads of the checkpoint, in a recording."""
    options = SystemOptions()
    model = build_model(options)
    listener = build_listener(options, model)
    samples, rate = soundfile.read(CLIP, dtype="float32")
    encoded, _ = listener.step(samples, rate, listener.init_state(), is_final=True)
    for name, size in (
        ("asr", model.config.asr_vocab_size),
        ("st", model.config.st_vocab_size),
    ):
        chunks = [chunk.log_probs[name] for chunk in encoded.chunks]
        assert assert_same(chunks, blank=size, suppress=(0,), blank_penalty=1.0) > 0
