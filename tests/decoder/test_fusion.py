"""Prefix beam search with a language model: against all labellings, and over any cuts."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.codec import decode, encode
from echostream.decoder import NgramModel, PrefixBeamCtc
from echostream.errors import ConfigError

from .ctc_oracles import labelling_probabilities, random_log_probs
from .language_models import MODELS, UNITS
from .test_prefix_beam import FOR_EVER, WIDE, live_prefixes


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
