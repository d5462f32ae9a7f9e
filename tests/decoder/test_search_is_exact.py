"""Prefix beam search leaves out what changes no bit; with a language model, over any cuts."""

import itertools
import math
from pathlib import Path

import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.codec import decode, encode
from echostream.decoder import NgramModel, PrefixBeamCtc
from echostream.errors import ConfigError
from echostream.session import SystemOptions
from echostream.session.build import build_listener, build_model

from .ctc_oracles import labelling_probabilities, random_log_probs
from .language_models import MODELS, UNITS
from .plain_prefix_search import PlainPrefixBeam
from .test_prefix_beam import FOR_EVER, WIDE, live_prefixes

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


def language_model_score(model: NgramModel, labels: tuple[int, ...]) -> float:
    """Logarithm of the probability of a whole labelling, from the start of a text."""
    padded = (model.start, *labels)
    return sum(
        float(model.log_probs(padded[: i + 1])[unit])
        if model.order > 1
        else float(model.log_probs(())[unit])
        for i, unit in enumerate(labels)
    )


@pytest.mark.parametrize("model", MODELS, ids=lambda m: f"order{m.order}")
@pytest.mark.parametrize(("weight", "bonus"), [(0.5, 0.0), (1.0, 1.5), (0.7, -0.5)])
def test_a_wide_beam_gives_the_score_of_every_labelling(
    model: NgramModel, weight: float, bonus: float
) -> None:
    log_probs = random_log_probs(3, 4, UNITS + 1)
    decoder = PrefixBeamCtc(
        blank=UNITS,
        beam_size=WIDE,
        prune_log_prob=-math.inf,
        hold_frames=FOR_EVER,
        lm_weight=weight,
        unit_bonus=bonus,
        language_model=model,
    )
    _, state = decoder.step(log_probs, decoder.init_state())
    wanted = {
        labels: math.log(p) + weight * language_model_score(model, labels) + bonus * len(labels)
        for labels, p in labelling_probabilities(log_probs, UNITS).items()
    }
    found = live_prefixes(state, ())
    assert set(found) == set(wanted)
    for labels, score in wanted.items():
        assert found[labels] == pytest.approx(score, abs=1e-5)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 100_000),
    frames=st.integers(1, 60),
    cuts=st.lists(st.integers(0, 60), max_size=10),
    beam_size=st.integers(1, 8),
    hold_frames=st.sampled_from([1, 2, 8, 32]),
    sharpness=st.sampled_from([1.0, 3.0]),
    fusion=st.booleans(),
)
def test_any_cut_gives_the_same_state_to_the_bit(
    seed: int,
    frames: int,
    cuts: list[int],
    beam_size: int,
    hold_frames: int,
    sharpness: float,
    fusion: bool,
) -> None:
    log_probs = random_log_probs(seed, frames, UNITS + 1, sharpness)
    model = {"lm_weight": 0.8, "unit_bonus": 1.0, "language_model": MODELS[2]}
    decoder = PrefixBeamCtc(
        blank=UNITS, beam_size=beam_size, hold_frames=hold_frames, **(model if fusion else {})
    )
    whole, expected = decoder.step(log_probs, decoder.init_state())
    state, tokens = decoder.init_state(), []
    for a, b in itertools.pairwise([0, *sorted(min(cut, frames) for cut in cuts), frames]):
        output, state = decoder.step(log_probs[a:b], state)
        assert all(token.frame < b for token in (*output.stable, *output.tentative))
        # Through bytes, as a saved stream goes.
        state = decode(encode(state, "state"), "state")
        tokens += output.stable
    assert state == expected
    assert (tuple(tokens), output.tentative) == (whole.stable, whole.tentative)
    assert len(state.history) <= MODELS[2].order - 1


def test_a_weight_without_a_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="language-model"):
        PrefixBeamCtc(blank=3, lm_weight=0.5)
